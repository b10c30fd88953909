import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { openStateDict } from '../../../../src/models/import/checkpoint/open-state-dict.ts';

const fixtures = join(import.meta.dirname, 'fixtures');

/**
 * Everything a checkpoint offers, by names without the training loop's and DataParallel's prefix: dtype, shape, and the bits
 * of the numbers. The optimizer's tensors are left out.
 */
async function contents(path: string): Promise<Map<string, unknown>> {
  const stateDict = await openStateDict(path);
  try {
    const all = new Map<string, unknown>();
    for (const { name, dtype, shape } of stateDict.entries) {
      if (name.startsWith('optimizer.')) continue;
      const bits: number[] = [];
      if (['F32', 'F16', 'BF16', 'F64'].includes(dtype)) {
        for await (const { buffer, byteOffset, length } of stateDict.stream(name)) {
          bits.push(...new Uint32Array(buffer, byteOffset, length));
        }
      }
      all.set(name.replace(/^(?:state_dict\.)?(?:module\.)?/, ''), { dtype, shape, bits });
    }
    return all;
  } finally {
    await stateDict.close();
  }
}

const sorted = (entries: ReadonlyMap<string, unknown>) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));

test('what PyTorch saved is what safetensors saved, in both of its forms and all formats', async (t) => {
  for (const [file, same, tensors] of [
    ['decoder.pth', 'decoder', 20],
    ['decoder-legacy.pth', 'decoder', 20],
    ['decoder-f16.pth', 'decoder-f16', 20],
    ['decoder-bf16.pth', 'decoder-bf16', 20],
    ['decoder-training.pth', 'decoder', 20],
    ['views.pth', 'views', 17],
    ['views-legacy.pth', 'views', 17],
  ] as const) {
    const found = await contents(join(fixtures, file));
    t.equal(found.size, tensors, file);
    t.strictSame(sorted(found), sorted(await contents(join(fixtures, `${same}.safetensors`))), file);
  }
});

test('the content tells the format, not the name', async (t) => {
  const directory = t.testdir();
  const expected = sorted(await contents(join(fixtures, 'views.safetensors')));
  for (const [from, to] of [
    ['views.pth', 'model.safetensors'],
    ['views-legacy.pth', 'model.bin'],
    ['views.safetensors', 'model.pth'],
  ] as const) {
    await writeFile(join(directory, to), await readFile(join(fixtures, from)));
    t.strictSame(sorted(await contents(join(directory, to))), expected, to);
  }
  // A header of 0x0280 bytes begins like a pickle of protocol 2.
  const header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.padEnd(0x0280);
  const length = Buffer.from([0x80, 2, 0, 0, 0, 0, 0, 0]);
  await writeFile(
    join(directory, 'unlucky.safetensors'),
    Buffer.concat([length, Buffer.from(header), Buffer.alloc(4)]),
  );
  t.equal((await contents(join(directory, 'unlucky.safetensors'))).size, 1);
});

test('an index may name files of PyTorch', async (t) => {
  const directory = t.testdir();
  for (const name of ['decoder.pth', 'views-legacy.pth']) {
    await writeFile(join(directory, name), await readFile(join(fixtures, name)));
  }
  const index = { weight_map: { a: 'decoder.pth', b: 'views-legacy.pth' } };
  const path = join(directory, 'pytorch_model.bin.index.json');
  await writeFile(path, JSON.stringify(index));
  t.equal((await contents(path)).size, 37);
  await writeFile(join(directory, 'views-legacy.pth'), 'nothing of the kind');
  await t.rejects(openStateDict(path), { code: 'checkpoint-invalid', message: /^views-legacy\.pth cannot/ });
});

test('a pickle that would run something is refused by its name, and nothing runs', async (t) => {
  for (const [file, message] of [
    ['attack.pth', /^attack\.pth cannot be read: The pickle asks for posix\.system, which is no tensor/],
    ['attack.pkl', /The pickle asks for posix\.system, /],
    ['whole-module.pth', /The pickle asks for torch\.nn\.modules\.linear\.Linear, .*state_dict\(\)/],
    ['script.pth', /TorchScript program \(constants\.pkl, code\/\)/],
  ] as const) {
    await t.rejects(openStateDict(join(fixtures, file)), { code: 'checkpoint-invalid', message }, file);
  }
  await t.rejects(readFile('attacked'), { code: 'ENOENT' });
});

test('a stream that is aborted ends', async (t) => {
  const stateDict = await openStateDict(join(fixtures, 'decoder.pth'));
  t.teardown(() => stateDict.close());
  const { name } = stateDict.entries.find(({ dtype }) => dtype === 'F32')!;
  const numbers = stateDict.stream(name, { signal: AbortSignal.abort() });
  await t.rejects(numbers[Symbol.asyncIterator]().next(), { name: 'AbortError' });
  await stateDict.close();
});
