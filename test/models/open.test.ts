import { cp, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { sha256, sha256File } from '../../src/base/digest.ts';
import type { BundleManifest } from '../../src/models/manifest.ts';
import { openBundle } from '../../src/models/open.ts';
import { MAX_MANIFEST_BYTES } from '../../src/models/parse-manifest.ts';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';
import { SAMPLE_EVALUATION } from './sample-evaluation.ts';
import { importSmallBundle } from './small-bundle.ts';

/** A manifest as JSON that tests may bend out of its type. */
type Loose = { -readonly [key in keyof BundleManifest]: BundleManifest[key] } & Record<string, unknown>;

/** Edits the manifest in place. */
async function editManifest(directory: string, edit: (manifest: Loose) => void): Promise<void> {
  const path = join(directory, 'bundle.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as Loose;
  edit(manifest);
  await writeFile(path, JSON.stringify(manifest));
}

/** Replaces a file and makes the manifest agree, as a careless tool would. */
async function replaceFile(directory: string, name: string, bytes: Uint8Array): Promise<void> {
  await writeFile(join(directory, name), bytes);
  await editManifest(directory, ({ files }) => {
    Object.assign(files.find((file) => file.name === name)!, { bytes: bytes.length, sha256: sha256(bytes) });
  });
}

function graphOf(input: string, output: string, shape: readonly (number | string)[]): Uint8Array {
  const graph = createGraphBuilder('g');
  graph.input(input, 'float32', ['B', 3, 6, 8]);
  graph.node(output, 'Identity', [input]);
  graph.output(output, 'float32', shape);
  return graph.encode();
}

test('every kind of damage is refused, naming the file and the reason', async (t) => {
  const root = t.testdir();
  const { bundle } = await importSmallBundle(root);
  const flip = async (path: string) => {
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
  };
  const invalid = (message: RegExp) => ({ code: 'bundle-invalid', message });
  const table: [string, (directory: string) => Promise<unknown>, object][] = [
    ['no manifest', (at) => rm(join(at, 'bundle.json')), invalid(/^bundle\.json is missing/)],
    [
      'a manifest that is no JSON',
      (at) => truncate(join(at, 'bundle.json'), 100),
      invalid(/^bundle\.json is not JSON/),
    ],
    [
      'a manifest in broken UTF-8',
      (at) => writeFile(join(at, 'bundle.json'), Buffer.from([0x22, 0xff, 0x22])),
      invalid(/not JSON in UTF-8/),
    ],
    [
      'a huge manifest',
      (at) => writeFile(join(at, 'bundle.json'), Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ')),
      invalid(/larger than/),
    ],
    [
      'a manifest that is null',
      (at) => writeFile(join(at, 'bundle.json'), 'null'),
      invalid(/^bundle\.json: /),
    ],
    [
      'heads that contradict each other',
      (at) => editManifest(at, ({ base }) => Object.assign(base, { heads: { heads: 3, kvHeads: 2 } })),
      invalid(/\/base\/heads 3 heads cannot share 2/),
    ],
    [
      'a newer manifest',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { schemaVersion: 3 })),
      {
        code: 'bundle-schema-unknown',
        message: /schema version 3; this release reads version 2 and the one before/,
      },
    ],
    [
      'a manifest of no version',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { schemaVersion: undefined })),
      invalid(/schemaVersion/),
    ],
    [
      'an unknown field',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { colour: 'red' })),
      invalid(/\/colour/),
    ],
    [
      'a missing field',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { licence: undefined })),
      invalid(/licence/),
    ],
    [
      'a licence that only says maybe',
      (at) =>
        editManifest(at, (manifest) =>
          Object.assign(manifest, { licence: { text: 'MIT', commercialUse: 'maybe' } }),
        ),
      invalid(/\/licence\/commercialUse/),
    ],
    [
      'an escaping path',
      (at) => editManifest(at, ({ tokenizer }) => Object.assign(tokenizer, { file: '../tokenizer.json' })),
      invalid(/\/tokenizer\/file/),
    ],
    [
      'an escaping path in the list',
      (at) => editManifest(at, ({ files }) => Object.assign(files[0]!, { name: '/etc/passwd' })),
      invalid(/\/files\/0\/name/),
    ],
    [
      'a layout that does not tile',
      (at) => editManifest(at, ({ layout }) => Object.assign(layout, { chunkWidth: 6 })),
      invalid(/\/layout\/modules\/0\/in/),
    ],
    [
      'prompts that disagree',
      (at) => editManifest(at, ({ condition }) => Object.assign(condition, { prompts: 4 })),
      invalid(/\/dnd\/features\/0\/0/),
    ],
    [
      'a width that disagrees',
      (at) => editManifest(at, ({ condition }) => Object.assign(condition, { width: 9 })),
      invalid(/\/dnd\/features\/0\/2/),
    ],
    [
      'a length that disagrees',
      (at) => editManifest(at, ({ condition }) => Object.assign(condition, { tokens: 7 })),
      invalid(/\/dnd\/features\/0\/1/),
    ],
    [
      'slices that do not come out even',
      (at) => editManifest(at, ({ condition }) => Object.assign(condition, { encoderTokens: 4 })),
      invalid(/\/condition\/tokens/),
    ],
    [
      'a last layer that disagrees',
      (at) => editManifest(at, ({ layout }) => Object.assign(layout, { layers: 2 })),
      invalid(/\/dnd\/features\/2 .*\(18, 4, 6\)/),
    ],
    [
      'an even kernel',
      (at) => editManifest(at, ({ dnd }) => Object.assign(dnd!, { kernel: 4 })),
      invalid(/\/dnd\/kernel must be odd/),
    ],
    [
      'a stage too few',
      (at) => editManifest(at, ({ generator }) => generator.stages.pop()),
      invalid(/\/generator\/stages must have 2/),
    ],
    [
      'a plan too short',
      (at) => editManifest(at, ({ dnd }) => dnd!.plan.pop()),
      invalid(/\/dnd\/plan must have 10/),
    ],
    [
      'a file in two roles',
      (at) => editManifest(at, ({ tokenizer, encoder }) => Object.assign(tokenizer, { file: encoder.file })),
      invalid(/one file two roles/),
    ],
    [
      'a file listed twice',
      (at) => editManifest(at, ({ files }) => files.push(files[0]!)),
      invalid(/list a file twice/),
    ],
    [
      'an unlisted tokenizer',
      (at) => editManifest(at, ({ files }) => files.pop()),
      invalid(/must list tokenizer\.json/),
    ],
    [
      'unlisted weights',
      (at) => editManifest(at, ({ files }) => files.splice(1, 1)),
      invalid(/^decoder\.onnx: tensor .* does not list/),
    ],
    [
      'a listed file nobody uses',
      async (at) => {
        await writeFile(join(at, 'extra'), '');
        await editManifest(at, ({ files }) => files.push({ name: 'extra', bytes: 0, sha256: sha256('') }));
      },
      invalid(/^extra is listed/),
    ],
    [
      'a model card that is not there',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { card: { file: 'MODEL_CARD.md' } })),
      invalid(/must list MODEL_CARD\.md/),
    ],
    [
      'an evaluation of no known metric',
      (at) =>
        editManifest(at, (manifest) => {
          const [row] = SAMPLE_EVALUATION.rows;
          manifest.evaluation = { protocol: 'p', rows: [{ ...row!, metric: 'bleu' as 'accuracy' }] };
        }),
      invalid(/\/evaluation\/rows\/0\/metric/),
    ],
    [
      'an evaluation with a figure beside its interval',
      (at) =>
        editManifest(at, (manifest) => {
          const [row] = SAMPLE_EVALUATION.rows;
          manifest.evaluation = { protocol: 'p', rows: [{ ...row!, value: 9 }] };
        }),
      invalid(/\/evaluation\/rows\/0 must have `low` ≤ `value` ≤ `high`/),
    ],
    ['a missing tokenizer', (at) => rm(join(at, 'tokenizer.json')), invalid(/^tokenizer\.json is missing/)],
    [
      'missing weights',
      (at) => rm(join(at, 'decoder.onnx.data')),
      invalid(/^decoder\.onnx\.data is missing/),
    ],
    [
      'a changed byte in the weights',
      (at) => flip(join(at, 'decoder.onnx.data')),
      invalid(/^decoder\.onnx\.data does not have the digest/),
    ],
    [
      'a changed byte in the tokenizer',
      (at) => flip(join(at, 'tokenizer.json')),
      invalid(/^tokenizer\.json does not have the digest/),
    ],
    [
      'a wrong digest',
      (at) => editManifest(at, ({ files }) => Object.assign(files[2]!, { sha256: '0'.repeat(64) })),
      invalid(/^decoder\.stage-00\.onnx does not have the digest/),
    ],
    ['a cut graph', (at) => truncate(join(at, 'decoder.onnx'), 500), invalid(/^decoder\.onnx has 500 bytes/)],
    [
      'a cut graph the manifest agrees with',
      async (at) =>
        replaceFile(at, 'decoder.onnx', (await readFile(join(at, 'decoder.onnx'))).subarray(0, 500)),
      invalid(/^decoder\.onnx: .*cut short/),
    ],
    [
      'weights cut as the manifest says',
      async (at) =>
        replaceFile(
          at,
          'decoder.onnx.data',
          (await readFile(join(at, 'decoder.onnx.data'))).subarray(0, 5000),
        ),
      invalid(/^decoder\.onnx: tensor .* past the end of decoder\.onnx\.data/),
    ],
    [
      'a graph that takes something else than the condition',
      (at) => editManifest(at, ({ generator }) => generator.graphs.splice(0, 1, generator.stages[1]!)),
      invalid(/one file two roles/),
    ],
    [
      'a graph of another shape',
      (at) => replaceFile(at, 'decoder.onnx', graphOf('condition', 'tokens', ['B', 9, 4, 7])),
      invalid(
        /^decoder\.onnx: output tokens is float32 \[batch, 9, 4, 7\], the manifest says float32 \[batch, 9, 4, 6\]/,
      ),
    ],
    [
      'a stage of another shape',
      (at) => replaceFile(at, 'decoder.stage-00.onnx', graphOf('x', 'y', ['B', 4, 5, 'any'])),
      invalid(/^decoder\.stage-00\.onnx: output y/),
    ],
    [
      'stages that do not follow one another',
      (at) => replaceFile(at, 'decoder.stage-00.onnx', graphOf('x', 'y', ['B', 4, 5, 8])),
      invalid(/^decoder\.stage-01\.onnx: input x is float32 \[batch, 4, 5, 7\]/),
    ],
    [
      'matrices of another shape',
      (at) => editManifest(at, ({ layout }) => Object.assign(layout.modules[0]!, { in: 4, out: 32 })),
      invalid(
        /^matrices\.00\.onnx: output mlp\.up_proj\.A is float32 \[1, 2, 8\], the manifest says float32 \[1, 2, 4\]/,
      ),
    ],
    [
      'matrices that are missing',
      (at) => editManifest(at, ({ layout }) => layout.modules.push({ path: 'a', in: 4, out: 4 })),
      invalid(/\/dnd\/features/),
    ],
    [
      'a family that is another one',
      (at) => editManifest(at, (manifest) => Object.assign(manifest, { family: 't2l' })),
      invalid(/\/dnd must be there for the family dnd alone/),
    ],
    [
      'an encoder with an input too many',
      (at) => editManifest(at, ({ encoder }) => Object.assign(encoder.inputs, { tokenTypes: undefined })),
      invalid(/^encoder\.onnx wants an input nothing feeds: token_type_ids/),
    ],
    [
      'a link that leads out',
      async (at) => {
        await rename(join(at, 'tokenizer.json'), join(at, '../tokenizer.json'));
        await symlink('../tokenizer.json', join(at, 'tokenizer.json'));
      },
      invalid(/^tokenizer\.json is not a regular file/),
    ],
    [
      'a manifest that is a link',
      async (at) => {
        await rename(join(at, 'bundle.json'), join(at, '../bundle.json'));
        await symlink('../bundle.json', join(at, 'bundle.json'));
      },
      invalid(/^bundle\.json is not a regular file/),
    ],
    [
      'a directory for a file',
      async (at) => {
        await rm(join(at, 'tokenizer.json'));
        await mkdir(join(at, 'tokenizer.json'));
      },
      invalid(/^tokenizer\.json is not a regular file/),
    ],
  ];
  for (const [index, [what, damage, error]] of table.entries()) {
    const directory = join(root, 'damaged', String(index), 'bundle');
    await cp(bundle.directory, directory, { recursive: true });
    await damage(directory);
    const found = await openBundle(directory).then(
      () => undefined,
      (reason: Error) => reason,
    );
    t.match(found, error, what);
    t.notMatch(found?.message, root, `${what}: no path in the message`);
  }
});

test('an untouched bundle opens, reports the bytes it hashed, and can be stopped', async (t) => {
  const { bundle } = await importSmallBundle(t.testdir());
  let hashed = 0;
  const opened = await openBundle(bundle.directory, { onBytes: (bytes) => (hashed += bytes) });
  t.equal(
    hashed,
    bundle.manifest.files.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  t.equal(opened.digest, (await sha256File(join(bundle.directory, 'bundle.json'))).sha256);
  await writeFile(join(bundle.directory, 'README.md'), 'Files nothing refers to do not matter.');
  t.same(await openBundle(bundle.directory), opened);
  await t.rejects(openBundle(bundle.directory, { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('a bundle made when the base kept its layers elsewhere makes adapters for where they are today', async (t) => {
  const { bundle } = await importSmallBundle(t.testdir());
  await editManifest(bundle.directory, ({ base }) =>
    Object.assign(base, { id: 'example/vision', architecture: 'qwen2_5_vl' }),
  );
  const { layout } = (await openBundle(bundle.directory)).manifest;
  t.equal(layout.layerPath, 'model.language_model.layers');
});

test('a licence that is a text, as earlier manifests had it, says nothing of commercial use', async (t) => {
  const { bundle } = await importSmallBundle(t.testdir());
  await editManifest(bundle.directory, (manifest) => Object.assign(manifest, { licence: 'MIT' }));
  const { manifest } = await openBundle(bundle.directory);
  t.strictSame(manifest.licence, { text: 'MIT', commercialUse: 'unclear' });
});

/** Makes a bundle what earlier releases wrote: version 1, whose graphs end in weight tokens. */
async function writeVersion1(directory: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(directory, 'bundle.json'), 'utf8')) as BundleManifest;
  const { family: _, condition, dnd, generator, files, ...shared } = manifest;
  const { pooling: __, ...sizes } = condition;
  const { lengthProjection, ...facts } = dnd!;
  const { graphs, matrices, ...figures } = generator;
  const added = new Set(matrices.map(({ file }) => file));
  for (const file of added) await rm(join(directory, file));
  await writeFile(
    join(directory, 'bundle.json'),
    JSON.stringify({
      ...shared,
      schemaVersion: 1,
      condition: { ...sizes, lengthProjection },
      decoder: { file: graphs[0]!.file, ...facts, ...figures },
      files: files.filter(({ name }) => !added.has(name)),
    }),
  );
}

test('a bundle of version 1 opens as version 2 describes it, with the graphs that it lacks', async (t) => {
  const { bundle } = await importSmallBundle(t.testdir());
  const graphs = new Map<string, Uint8Array>();
  for (const { file } of bundle.manifest.generator.matrices) {
    graphs.set(file, await readFile(join(bundle.directory, file)));
  }
  await writeVersion1(bundle.directory);
  const old = await openBundle(bundle.directory);
  const { files: _, ...expected } = bundle.manifest;
  const { files: __, ...found } = old.manifest;
  t.same(found, expected);
  t.equal(
    old.digest,
    (await sha256File(join(bundle.directory, 'bundle.json'))).sha256,
    'under its own digest',
  );
  t.same([...old.supplied!.keys()], [...graphs.keys()]);
  for (const [file, bytes] of graphs) t.ok(Buffer.from(bytes).equals(Buffer.from(old.supplied!.get(file)!)));
  t.equal(bundle.supplied, undefined, 'one of version 2 lacks none');

  await editManifest(bundle.directory, (manifest) => Object.assign(manifest, { family: 'dnd' }));
  await t.rejects(openBundle(bundle.directory), { code: 'bundle-invalid', message: /\/family/ });
});
