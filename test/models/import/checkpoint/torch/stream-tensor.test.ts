import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { TorchTensor } from '../../../../../src/models/import/checkpoint/torch/objects.ts';
import { streamTensor } from '../../../../../src/models/import/checkpoint/torch/stream-tensor.ts';

/** Place of the storage in the test's files. */
const START = 12;

type View = Pick<TorchTensor, 'offset' | 'shape' | 'strides'>;

function tensorOf(elements: number, view: View, dtype: 'F32' | 'F16' = 'F32'): TorchTensor {
  return { kind: 'tensor', storage: { kind: 'storage', key: '0', dtype, elements }, ...view };
}

/** A file with a storage of floats that count up, as large as asked but with holes behind `filled` elements. */
async function storageFile(path: string, elements: number, filled = elements): Promise<FileHandle> {
  const file = await open(path, 'w+');
  await file.write(
    new Uint8Array(Float32Array.from({ length: filled }, (_, index) => index).buffer),
    0,
    null,
    START,
  );
  await file.truncate(START + elements * 4);
  return file;
}

/** What the tensor's numbers must be: the places of its elements, since the storage counts up. */
function* placesOf({ offset, shape, strides }: View, axis = 0): Generator<number> {
  if (axis === shape.length) yield offset;
  else {
    for (let index = 0; index < shape[axis]!; index++) {
      yield* placesOf({ offset: offset + index * strides[axis]!, shape, strides }, axis + 1);
    }
  }
}

async function collect(numbers: AsyncIterable<Float32Array>) {
  const chunks: Float32Array[] = [];
  for await (const chunk of numbers) chunks.push(chunk);
  return chunks;
}

test('every view is read in row-major order, in chunks of a MiB at most', async (t) => {
  const elements = 1_000_000;
  await using file = await storageFile(join(t.testdir(), 'storage'), elements);
  const views: Record<string, View> = {
    contiguous: { offset: 0, shape: [1000, 1000], strides: [1000, 1] },
    'a part in the middle': { offset: 999, shape: [10, 7, 11], strides: [77, 11, 1] },
    transposed: { offset: 0, shape: [500, 2000], strides: [1, 500] },
    'rows apart': { offset: 5, shape: [900, 10], strides: [1000, 1] },
    'a column': { offset: 7, shape: [1000, 1], strides: [1000, 1] },
    'steps in both axes': { offset: 3, shape: [333, 499], strides: [3000, 2] },
    'channels last': { offset: 0, shape: [20, 100, 9, 9], strides: [8100, 1, 900, 100] },
    'axes of one': { offset: 1, shape: [1, 3, 1, 5], strides: [77, 5, 99, 1] },
    repeated: { offset: 4, shape: [3, 2, 5], strides: [0, 5, 1] },
    'repeated inside': { offset: 4, shape: [300, 700], strides: [9, 0] },
    'a number': { offset: 999_999, shape: [], strides: [] },
    nothing: { offset: 0, shape: [3, 0], strides: [1, 1] },
  };
  for (const [what, view] of Object.entries(views)) {
    const chunks = await collect(streamTensor(file, START, 'w', tensorOf(elements, view)));
    const numbers = Float32Array.from(chunks.flatMap((chunk) => [...chunk]));
    const expected = Float32Array.from(placesOf(view));
    t.ok(Buffer.from(numbers.buffer).equals(Buffer.from(expected.buffer)), what);
    t.ok(
      chunks.every(({ byteLength }) => byteLength <= 1 << 20),
      `${what}: chunks`,
    );
  }
});

test('a view is read through a window as long as that is bounded', async (t) => {
  const directory = t.testdir();
  // 2,500 × 10,000: a transposed matrix of 100 MB, mostly holes; the first rows count up.
  const [rows, columns] = [2500, 10_000];
  await using file = await storageFile(join(directory, 'large'), rows * columns, 3 * columns);
  const view = { offset: 0, shape: [columns, rows], strides: [1, columns] };
  let at = 0;
  let isEqual = true;
  for await (const chunk of streamTensor(file, START, 'w', tensorOf(rows * columns, view))) {
    for (const number of chunk) {
      const [column, row] = [Math.floor(at / rows), at % rows];
      if (number !== (row < 3 ? row * columns + column : 0)) isEqual = false;
      at++;
    }
  }
  t.ok(isEqual);
  t.equal(at, rows * columns);

  // Twice as many rows: no window holds them, and each row of the view would be a pass over the file.
  await using larger = await storageFile(join(directory, 'larger'), 2 * rows * columns, 1);
  const whole = { offset: 0, shape: [columns, 2 * rows], strides: [1, columns] };
  const refusal = {
    code: 'checkpoint-invalid',
    message: /^Tensor w is a view too far .* save it with \.contiguous\(\)/,
  };
  await t.rejects(collect(streamTensor(larger, START, 'w', tensorOf(2 * rows * columns, whole))), refusal);
  // The largest part of it that a window holds; in front of it an axis whose parts lie side by side.
  const parts = { offset: 0, shape: [2, 5, rows], strides: [rows * columns, 1, columns] };
  const chunks = await collect(streamTensor(larger, START, 'w', tensorOf(2 * rows * columns, parts)));
  t.equal(
    chunks.reduce((sum, { length }) => sum + length, 0),
    2 * 5 * rows,
  );
});

test('a tensor that cannot be read is named', async (t) => {
  await using file = await storageFile(join(t.testdir(), 'short'), 10);
  const view = { offset: 0, shape: [20], strides: [1] };
  await t.rejects(collect(streamTensor(file, START, 'w', tensorOf(20, view))), {
    code: 'checkpoint-invalid',
    message: /ends before/,
  });
  const integers = {
    ...tensorOf(10, view),
    storage: { kind: 'storage', key: '0', dtype: 'I64', elements: 10 },
  } as const;
  await t.rejects(collect(streamTensor(file, START, 'w', integers)), {
    code: 'checkpoint-invalid',
    message: /^Tensor w holds I64; BF16, F16, F32, F64 can be read/,
  });
  const signal = AbortSignal.abort();
  await t.rejects(collect(streamTensor(file, START, 'w', tensorOf(20, view), { signal })), {
    name: 'AbortError',
  });
});
