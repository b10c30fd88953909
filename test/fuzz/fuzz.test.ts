import { test } from 'tap';
import { fuzzReaders } from './fuzz-readers.ts';
import { READERS } from './readers.ts';

/** For each reader: `FUZZ_SECONDS=3600 FUZZ_SEED=7 FUZZ_READERS=gguf,onnx npx tap --timeout=90000 test/fuzz/*.test.ts`. */
const { FUZZ_SECONDS = '1', FUZZ_SEED = '1', FUZZ_READERS } = process.env;

test('whatever the bytes are, every reader ends in a value or in a failure that it declares', async (t) => {
  const names = FUZZ_READERS?.split(',') ?? Object.keys(READERS);
  const run = { seed: Number(FUZZ_SEED), ms: Number(FUZZ_SECONDS) * 1000 };
  for (const [name, { inputs, refused, slowestMs, failures }] of await fuzzReaders(names, run)) {
    t.strictSame(failures, [], `${name}: inputs that fail are now in test/fuzz/corpus/${name}`);
    t.ok(inputs > 0, `${name}: ${inputs} inputs, ${refused} refused, the slowest took ${slowestMs} ms`);
  }
});
