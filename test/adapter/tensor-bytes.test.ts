import { test } from 'tap';
import { decodeTensor, encodeTensor } from '../../src/adapter/tensor-bytes.ts';
import { DTYPES } from '../../src/base/dtype.ts';

const NAMES = { bf16: 'BF16', f16: 'F16', f32: 'F32' } as const;

test('numbers a format can hold survive it', (t) => {
  const values = new Float32Array([0, 1, -1.5, 0.25, -65_280, 2 ** -14, -0]);
  for (const dtype of DTYPES) {
    const bytes = encodeTensor('w', values, dtype);
    t.equal(bytes.length, values.length * (dtype === 'f32' ? 4 : 2));
    t.same(decodeTensor('w', bytes, NAMES[dtype]), values, dtype);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    t.same(
      decodeTensor('w', shifted.subarray(1), NAMES[dtype]),
      values,
      `${dtype} at an odd place in memory`,
    );
  }
  t.same([...encodeTensor('w', new Float32Array([1]), 'bf16')], [0x80, 0x3f], 'little-endian');
  t.end();
});

test('a number that is not finite is refused, wherever it stands', (t) => {
  const largest = { bf16: 3.3895313892515355e38, f16: 65504, f32: 3.4028234663852886e38 };
  for (const dtype of DTYPES) {
    t.doesNotThrow(() => encodeTensor('w', new Float32Array([largest[dtype], -largest[dtype]]), dtype));
    for (const at of [0, 1, 2]) {
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const values = new Float32Array(3);
        values[at] = value;
        t.throws(
          () => encodeTensor('layer.w', values, dtype),
          { code: 'adapter-not-finite', message: /^layer\.w holds a number that is not finite/ },
          `${value} in ${dtype} at ${at}`,
        );
      }
    }
  }
  for (const [dtype, value] of [
    ['f16', -65_520],
    ['bf16', 3.4e38],
  ] as const) {
    t.throws(() => encodeTensor('w', new Float32Array([0, value]), dtype), {
      code: 'adapter-not-finite',
      message: `w holds a number beyond the range of ${dtype}.`,
    });
  }
  t.end();
});

test('bytes that are no float tensor are refused', (t) => {
  t.throws(() => decodeTensor('w', new Uint8Array(8), 'I64'), {
    code: 'safetensors-invalid',
    message: /I64/,
  });
  t.throws(() => decodeTensor('w', new Uint8Array(5), 'F32'), { code: 'safetensors-invalid' });
  t.throws(() => decodeTensor('w', new Uint8Array(5), 'BF16'), { code: 'safetensors-invalid' });
  t.end();
});
