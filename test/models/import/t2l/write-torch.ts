/** A state dict as `torch.save` writes it, for tests that need its entries in an order of their own. */
import { crc32 } from 'node:zlib';
import type { Numbers } from '../../reference-decoder.ts';

/** The bytes of a zip archive with a pickled `OrderedDict` of float32 tensors. */
export function torchFile(tensors: ReadonlyMap<string, Numbers>): Buffer {
  const storages = [...tensors.values()].map(({ values }) => {
    const numbers = Float32Array.from(values);
    return Buffer.from(numbers.buffer);
  });
  return zip([
    ['archive/data.pkl', pickle(tensors)],
    ...storages.map((bytes, index): [string, Buffer] => [`archive/data/${index}`, bytes]),
    ['archive/version', Buffer.from('3\n')],
  ]);
}

function pickle(tensors: ReadonlyMap<string, Numbers>): Buffer {
  const parts: Buffer[] = [Buffer.of(0x80, 2)];
  const op = (...bytes: number[]) => parts.push(Buffer.of(...bytes));
  const global = (module: string, name: string) => parts.push(Buffer.from(`c${module}\n${name}\n`));
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    const head = Buffer.alloc(5);
    head.write('X');
    head.writeUInt32LE(bytes.length, 1);
    parts.push(head, bytes);
  };
  const integer = (value: number) => {
    const bytes = Buffer.alloc(5);
    bytes.write('J');
    bytes.writeInt32LE(value, 1);
    parts.push(bytes);
  };
  const [mark, tuple, reduce, empty] = ['(', 't', 'R', ')'].map((letter) => letter.charCodeAt(0)) as [
    number,
    number,
    number,
    number,
  ];
  const orderedDict = () => {
    global('collections', 'OrderedDict');
    op(empty, reduce);
  };
  const integers = (values: readonly number[]) => {
    op(mark);
    values.forEach(integer);
    op(tuple);
  };
  orderedDict();
  op(mark);
  [...tensors].forEach(([name, { shape, values }], index) => {
    text(name);
    global('torch._utils', '_rebuild_tensor_v2');
    op(mark, mark);
    text('storage');
    global('torch', 'FloatStorage');
    text(String(index));
    text('cpu');
    integer(values.length);
    op(tuple, 'Q'.charCodeAt(0));
    integer(0);
    integers(shape);
    integers(shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)));
    op(0x89);
    orderedDict();
    op(tuple, reduce);
  });
  op('u'.charCodeAt(0), '.'.charCodeAt(0));
  return Buffer.concat(parts);
}

function zip(entries: readonly (readonly [string, Buffer])[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, bytes] of entries) {
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt32LE(crc32(bytes), 10);
    fields.writeUInt32LE(bytes.length, 14);
    fields.writeUInt32LE(bytes.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(at, 10);
    parts.push(Buffer.from('PK\x03\x04'), fields, Buffer.from(name), bytes);
    directory.push(Buffer.from('PK\x01\x02'), Buffer.of(20, 0), fields, place, Buffer.from(name));
    at += 30 + name.length + bytes.length;
  }
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  const records = Buffer.concat(directory);
  end.writeUInt32LE(records.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, records, Buffer.from('PK\x05\x06'), end]);
}
