import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { openSafetensors, safetensorsHeader, writeSafetensors } from '../../src/adapter/safetensors.ts';
import {
  MAX_HEADER_BYTES,
  MAX_NAME_LENGTH,
  MAX_TENSORS,
  parseSafetensorsHeader,
} from '../../src/adapter/safetensors-header.ts';
import { DTYPES } from '../../src/base/dtype.ts';

const golden = join(import.meta.dirname, '..', 'golden', 'adapter');

/** The tensors of the reference files, as test/golden/adapter/README.md defines them. */
function referenceTensors(): { name: string; shape: [number, number]; values: Float32Array }[] {
  const widths = {
    'mlp.down_proj': [16, 8],
    'self_attn.k_proj': [8, 4],
    'self_attn.q_proj': [8, 12],
  } as const;
  let k = 0;
  return [0, 10, 2].flatMap((layer) =>
    Object.entries(widths).flatMap(([path, [wide, out]]) =>
      (['A', 'B'] as const).map((side) => {
        const shape: [number, number] = side === 'A' ? [2, wide] : [out, 2];
        const values = Float32Array.from(
          { length: shape[0] * shape[1] },
          () => (((37 * k++) % 101) - 50) / 700,
        );
        return { name: `base_model.model.model.layers.${layer}.${path}.lora_${side}.weight`, shape, values };
      }),
    ),
  );
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

for (const dtype of DTYPES) {
  test(`a ${dtype} file has the bytes the reference library writes, and reads back`, async (t) => {
    const tensors = referenceTensors();
    const path = join(golden, `${dtype}.safetensors`);
    const expected = await readFile(path);
    const written = await collect(
      writeSafetensors(
        tensors,
        tensors.map(({ values }) => values),
        { dtype },
      ),
    );
    t.ok(written.equals(expected), 'byte for byte');
    t.equal(safetensorsHeader(tensors, dtype).totalBytes, expected.length, 'of the size foretold');

    // The rounding of the narrower formats leaves 11 or 8 bits.
    const step = { f32: 0, f16: 2 ** -11, bf16: 2 ** -8 }[dtype];
    await using file = await openSafetensors(path);
    t.same(file.header.metadata, { format: 'pt' });
    t.same(
      file.header.tensors.map(({ name, shape }) => ({ name, shape })),
      tensors.map(({ name, shape }) => ({ name, shape })),
    );
    for (const { name, values } of tensors) {
      const read = await file.read(name);
      t.equal(read.length, values.length);
      t.ok(
        read.every((value, index) => Math.abs(value - values[index]!) <= step * Math.abs(values[index]!)),
        name,
      );
    }
  });
}

test('a tensor may come in pieces, and nothing is written before it came', async (t) => {
  const [first, second] = referenceTensors();
  const tensors = [first!, { name: `${first!.name}.empty`, shape: [0, 4] }, second!];
  const whole = await collect(writeSafetensors(tensors, [first!.values, second!.values], { dtype: 'bf16' }));
  let handedOut = 0;
  async function* pieces() {
    for (const { values } of [first!, second!]) {
      for (let i = 0; i < values.length; i += 5) {
        handedOut++;
        yield values.subarray(i, i + 5);
      }
    }
  }
  const writer = writeSafetensors(tensors, pieces(), { dtype: 'bf16' });
  const parts: Uint8Array[] = [];
  for await (const part of writer) {
    t.equal(parts.length, handedOut, 'one piece in, one piece out, after the header');
    parts.push(part);
  }
  t.ok(Buffer.concat(parts).equals(whole));
});

test('a file is not written from wrong parts', async (t) => {
  const [a, b] = referenceTensors();
  const write = (values: Float32Array[], tensors = [a!, b!], dtype: 'f32' | 'f16' = 'f32') =>
    collect(writeSafetensors(tensors, values, { dtype }));
  const invalid = { code: 'safetensors-invalid' };
  await t.rejects(write([a!.values, a!.values], [a!, a!]), invalid, 'a name twice');
  await t.rejects(write([a!.values]), invalid, 'a tensor too few');
  await t.rejects(write([a!.values, b!.values, a!.values]), invalid, 'a tensor too many');
  await t.rejects(write([a!.values.subarray(1), b!.values]), invalid, 'a number too few');
  for (const [value, dtype] of [
    [Number.NaN, 'f32'],
    [Number.POSITIVE_INFINITY, 'f32'],
    [70_000, 'f16'],
  ] as const) {
    const broken = b!.values.slice();
    broken[broken.length - 1] = value;
    await t.rejects(
      write([a!.values, broken], [a!, b!], dtype),
      { code: 'adapter-not-finite', message: new RegExp(b!.name.replaceAll('.', '\\.')) },
      `${value} in ${dtype}`,
    );
  }
  const aborted = AbortSignal.abort(new Error('enough'));
  await t.rejects(
    collect(writeSafetensors([a!], [a!.values], { dtype: 'f32', signal: aborted })),
    { message: 'enough' },
    'after an abort',
  );
});

test('a tensor streams in chunks of whole elements', async (t) => {
  await using file = await openSafetensors(join(golden, 'f32.safetensors'));
  const [tensor] = file.header.tensors;
  const sizes: number[] = [];
  const parts: Uint8Array[] = [];
  for await (const chunk of file.stream(tensor!.name, { chunkBytes: 50 })) {
    sizes.push(chunk.length);
    t.equal(chunk.byteOffset, 0, 'in memory of its own');
    parts.push(chunk);
  }
  t.same(sizes, [48, 48, 32]);
  const read = await file.read(tensor!.name);
  t.ok(Buffer.concat(parts).equals(Buffer.from(read.buffer)));
  t.equal((await collect(file.stream(tensor!.name, { chunkBytes: 1 }))).length, 128, 'one element at least');
  const signal = AbortSignal.abort(new Error('enough'));
  await t.rejects(file.read(tensor!.name, { signal }), { message: 'enough' });
  await t.rejects(collect(file.stream(tensor!.name, { signal })), { message: 'enough' });
  await t.rejects(file.read('nothing'), { code: 'safetensors-invalid', message: /"nothing"/ });
  await file.close();
  await file.close();
});

test('a file that shrinks while it is open is noticed', async (t) => {
  const path = join(t.testdir(), 'x.safetensors');
  await writeFile(path, await readFile(join(golden, 'f32.safetensors')));
  await using file = await openSafetensors(path);
  await truncate(path, 3000);
  await t.rejects(file.read(file.header.tensors.at(-1)!.name), {
    code: 'safetensors-invalid',
    message: /shorter/,
  });
});

/** A header with one F32 tensor `a` of two numbers, changed. */
const header = (change: object) =>
  JSON.stringify({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...change } });

test('a header that does not fit its file is refused, by name', (t) => {
  const two = (first: [number, number], second: [number, number]) =>
    JSON.stringify({
      a: { dtype: 'U8', shape: [first[1] - first[0]], data_offsets: first },
      b: { dtype: 'U8', shape: [second[1] - second[0]], data_offsets: second },
    });
  const cases: [string, string | Uint8Array, number, RegExp][] = [
    ['broken UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 0, /UTF-8/],
    ['no JSON', '{', 0, /JSON/],
    ['a list', '[]', 0, /object/],
    ['null', 'null', 0, /object/],
    ['metadata with a number', '{"__metadata__":{"a":1}}', 0, /metadata/],
    ['metadata that is a list', '{"__metadata__":[]}', 0, /metadata/],
    ['an empty name', '{"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1, /name of 0/],
    ['a long name', header({}).replace('"a"', `"${'a'.repeat(MAX_NAME_LENGTH + 1)}"`), 8, /name of 513/],
    ['an entry that is no object', '{"a":1}', 8, /"a"/],
    ['an unknown dtype', header({ dtype: 'F8' }), 8, /"a".*"F8"/],
    ['a dtype out of the prototype', header({ dtype: 'constructor' }), 8, /"a".*dtype/],
    ['a negative side', header({ shape: [-2] }), 8, /"a".*shape/],
    ['a fractional side', header({ shape: [0.5] }), 8, /"a".*shape/],
    ['a shape of text', header({ shape: ['2'] }), 8, /"a".*shape/],
    ['nine axes', header({ shape: [1, 1, 1, 1, 1, 1, 1, 1, 2] }), 8, /"a".*shape/],
    ['a product that overflows', header({ shape: [2 ** 30, 2 ** 30, 2 ** 30] }), 8, /"a"/],
    ['sides that overflow to 0 bytes', header({ shape: [2 ** 32, 2 ** 32], data_offsets: [0, 0] }), 0, /"a"/],
    ['three offsets', header({ data_offsets: [0, 8, 8] }), 8, /"a".*data_offsets/],
    ['offsets the wrong way round', header({ shape: [0], data_offsets: [8, 0] }), 8, /"a"/],
    ['fewer bytes than the shape', header({ data_offsets: [0, 4] }), 4, /"a".*4 bytes/],
    ['a hole at the start', header({ data_offsets: [4, 12] }), 12, /"a".*gap/],
    ['a hole between', two([0, 4], [5, 8]), 8, /"b".*gap/],
    ['an overlap', two([0, 4], [3, 8]), 8, /"b".*inside/],
    ['the same bytes twice', two([0, 4], [0, 4]), 4, /inside/],
    ['bytes behind the last tensor', header({}), 9, /8 bytes.*9/],
    ['bytes that are missing', header({}), 7, /8 bytes.*7/],
  ];
  for (const [label, json, dataBytes, message] of cases) {
    const bytes = typeof json === 'string' ? new TextEncoder().encode(json) : json;
    t.throws(() => parseSafetensorsHeader(bytes, dataBytes), { code: 'safetensors-invalid', message }, label);
  }
  const many = JSON.stringify(
    Object.fromEntries(
      Array.from({ length: MAX_TENSORS + 1 }, (_, i) => [
        `t${i}`,
        { dtype: 'U8', shape: [0], data_offsets: [0, 0] },
      ]),
    ),
  );
  t.throws(() => parseSafetensorsHeader(new TextEncoder().encode(many), 0), { message: /131073 tensors/ });
  const good = parseSafetensorsHeader(
    new TextEncoder().encode(
      `${JSON.stringify({
        s: { dtype: 'F64', shape: [], data_offsets: [4, 12] },
        e: { dtype: 'BOOL', shape: [3, 0], data_offsets: [4, 4] },
        h: { dtype: 'F16', shape: [2, 1], data_offsets: [0, 4] },
      })}   `,
    ),
    12,
  );
  t.same(
    good.tensors.map(({ name, bytes }) => [name, bytes]),
    [
      ['h', 4],
      ['e', 0],
      ['s', 8],
    ],
    'scalars, empty tensors and padding are fine; the order is that of the bytes',
  );
  t.end();
});

/** What the library takes and we do not, each for a limit of ours. */
const NARROWER: Readonly<Record<string, RegExp>> = {
  'an empty name': /name of 0/,
  'nine axes': /at most 8/,
  'a tensor as a list': /no dtype/,
  'a side beyond exact numbers': /whole numbers/,
};

test('a header is taken when the reference library takes it', async (t) => {
  // Written by make_safetensors_cases.py.
  const { cases } = JSON.parse(
    await readFile(join(import.meta.dirname, 'safetensors-cases.json'), 'utf8'),
  ) as {
    cases: {
      label: string;
      header: string;
      dataBytes: number;
      tensors: [string, string, number[]][] | null;
    }[];
  };
  for (const { label, header: text, dataBytes, tensors } of cases) {
    const parse = () => parseSafetensorsHeader(new TextEncoder().encode(text), dataBytes);
    const message = NARROWER[label];
    if (message || !tensors) {
      t.throws(parse, { code: 'safetensors-invalid', ...(message && { message }) }, label);
      t.equal(message === undefined, tensors === null, `${label}: the library takes what only we refuse`);
      continue;
    }
    t.same(
      parse()
        .tensors.map(({ name, dtype, shape }) => [name, dtype, shape])
        .sort(),
      tensors.sort(),
      label,
    );
  }
  t.ok(cases.length > 70);
  const twice = new TextEncoder().encode('{"__metadata__":{"a":"1","a":"2"}}');
  t.same(
    parseSafetensorsHeader(twice, 0).metadata,
    { a: '2' },
    'of a key that is there twice the last counts',
  );
  t.same(parseSafetensorsHeader(new TextEncoder().encode('{"__metadata__":null}'), 0).metadata, {});
});

test('a file whose header cannot be true is refused before it is read', async (t) => {
  const directory = t.testdir();
  const path = join(directory, 'x.safetensors');
  const lengthOf = (length: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(length);
    return bytes;
  };
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', Buffer.alloc(0), /0 bytes/],
    ['seven bytes', Buffer.alloc(7), /7 bytes/],
    ['a header longer than the file', lengthOf(100n), /more than the 0 behind its length/],
    ['a header over the limit', lengthOf(BigInt(MAX_HEADER_BYTES) + 1n), /limit/],
    ['a length of 64 ones', lengthOf(2n ** 64n - 1n), /limit/],
    ['a pickle', Buffer.from('PK\u0003\u0004 archive/data.pkl and so on'), /limit/],
  ];
  for (const [label, bytes, message] of cases) {
    await writeFile(path, bytes);
    await t.rejects(openSafetensors(path), { code: 'safetensors-invalid', message }, label);
  }
  await t.rejects(openSafetensors(directory), { code: 'safetensors-invalid' }, 'a directory');
  await t.rejects(openSafetensors(join(directory, 'none')), { code: 'ENOENT' });
});
