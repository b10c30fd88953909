import { join } from 'node:path';
import { test } from 'tap';
import { modelErrors } from '../../../../src/models/errors.ts';
import { openStateDict } from '../../../../src/models/import/checkpoint/open-state-dict.ts';
import { findDecoder } from '../../../../src/models/import/dnd/find-decoder.ts';

const trainers = join(import.meta.dirname, '..', 'checkpoint', 'fixtures', 'trainers');
const anything = { accepts: () => {} };

type Options = Parameters<typeof findDecoder>[1];

/** What is found in a file of `trainers/`: the key, the notes, and the numbers by published names. */
async function found(file: string, options: Options = anything) {
  const stateDict = await openStateDict(join(trainers, file));
  try {
    const { names, key, notes, architecture } = findDecoder(stateDict, options);
    const numbers = new Map<string, number[]>();
    for (const [published, own] of names) {
      const values: number[] = [];
      for await (const chunk of stateDict.stream(own)) values.push(...chunk);
      numbers.set(published, values);
    }
    return { key, notes, architecture, numbers: [...numbers].sort() };
  } finally {
    await stateDict.close();
  }
}

test('the decoder is found whatever a trainer put around it', async (t) => {
  const plain = await found('plain.safetensors');
  t.equal(plain.key, '');
  t.same(plain.notes, []);
  t.same(plain.architecture, {
    kernel: 3,
    features: [
      [1, 2, 2],
      [2, 2, 2],
      [3, 2, 2],
    ],
    projection: { tokens: 4, positions: 2 },
  });
  const averaged = await found('averaged.safetensors');
  for (const [file, key, notes] of [
    [
      'lightning.pth',
      'state_dict.model',
      [/^Taken: the 22 tensors under state_dict\.model\./, /^Left out: /],
    ],
    ['lightning-protocol5.pth', 'state_dict.model', [/^Taken/, /optimizer_states \(\d+ entries\)/]],
    ['fsdp-wrapped.pth', '', []],
    ['checkpoint-wrapped.pth', '', []],
    ['compiled.pth', '', []],
    ['net.pth', 'model.net', [/^Taken/, /^Left out: model\.norm\.weight, .*, step\.$/]],
    ['generator.pth', 'model.generator', [/^Taken/, /^Left out/]],
    ['decoder-alone.pth', '', []],
    ['swa.pth', '', [/^Left out: n_averaged\.$/]],
    ['ema-without-dots.pth', '', [/^Left out: model_ema \(23 entries\)\.$/]],
    ['float64.pth', '', [/^Converted from float64 to float32: 22 tensors\.$/]],
    ['float64.safetensors', '', [/^Converted from float64/]],
    ['attributes.pth', '', []],
    ['counters.pth', '', [/^Left out: step, n_averaged, norm\.num_batches_tracked, epoch, note\.$/]],
  ] as const) {
    const one = await found(file);
    t.equal(one.key, key, file);
    t.strictSame(one.numbers, plain.numbers, `${file}: its numbers`);
    t.equal(one.notes.length, notes.length, `${file}: ${one.notes}`);
    for (const [index, note] of notes.entries()) t.match(one.notes[index], note, file);
  }
  const only = await found('ema-only.pth');
  t.equal(only.key, 'model_ema');
  t.strictSame(only.numbers, averaged.numbers, 'a copy that is there alone is taken');
  t.match(only.notes[1], /^Left out: optimizer \(\d+ entries\), step\.$/);
});

test('where two fit, a key chooses', async (t) => {
  const plain = await found('plain.safetensors');
  const averaged = await found('averaged.safetensors');
  for (const [file, keys, ofPlain, ofAveraged] of [
    ['ema.pth', 'state_dict, ema_state_dict', 'state_dict', 'ema_state_dict'],
    ['ema-nested.pth', 'model, ema', 'model', 'ema'],
    ['ema-nested.pth', 'model, ema', 'model', 'ema.module'],
    ['ema-flat.safetensors', 'ema, \\.', '.', 'ema'],
  ] as const) {
    await t.rejects(
      found(file),
      {
        code: 'checkpoint-invalid',
        message: new RegExp(
          `^2 state dicts of the checkpoint fit: ${keys}\\. Choose one with --state-dict KEY`,
        ),
      },
      file,
    );
    t.strictSame((await found(file, { ...anything, key: ofPlain })).numbers, plain.numbers, file);
    t.strictSame((await found(file, { ...anything, key: ofAveraged })).numbers, averaged.numbers, file);
    await t.rejects(found(file, { ...anything, key: 'emma' }), {
      message: /no decoder under that key; there is/,
    });
  }
});

test('what fits the base and once only is taken', async (t) => {
  const accepts: Options['accepts'] = ({ features }) => {
    if (features.length !== 3) throw modelErrors.checkpoint('of another size');
  };
  const plain = await found('plain.safetensors');
  await t.rejects(found('one-of-two-fits.pth'), { message: /^2 state dicts.*model, other/ });
  const one = await found('one-of-two-fits.pth', { accepts });
  t.equal(one.key, 'model');
  t.strictSame(one.numbers, plain.numbers);
  t.match(one.notes[1], /^Left out: other \(13 entries\)\.$/);
  await t.rejects(
    found('one-of-two-fits.pth', {
      accepts: () => {
        throw modelErrors.checkpoint('of another size');
      },
    }),
    { message: /^None of the state dicts model, other fits\. The first: of another size/ },
  );
});

test('what is no state dict of weights says what it is', async (t) => {
  for (const [file, message] of [
    ['quantised.pth', /quantised/],
    ['packed.safetensors', /quantised/],
    ['int8.pth', /holds I8; weights are .* quantised/],
    ['float8.pth', /quantised/],
    ['flat.pth', /one process’s part of the weights/],
    ['zero.pth', /one process’s part of the weights/],
    [
      'module.pth',
      /asks for \S+, which is no tensor .* a whole module or object; nothing of it was run.*state_dict\(\)/,
    ],
    ['adapter.pth', /a LoRA adapter, not the decoder/],
    ['other.pth', /no tensor of a decoder layer .* It has encoder\.weight\./],
    ['distributed', /sharded by FSDP.*dcp_to_torch/],
    ['distributed/__0_0.distcp', /sharded by FSDP.*dcp_to_torch/],
    ['distributed/.metadata', /asks for torch\.distributed.*FSDP/],
  ] as const) {
    await t.rejects(found(file), { code: 'checkpoint-invalid', message }, file);
  }
});
