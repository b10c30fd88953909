/** A reader of adapters in GGUF, by the format's description. */
import { fromF16Bits } from '../../src/base/dtype.ts';

/** The metadata and the tensors of a file. */
export function parseGguf(file: Buffer) {
  let at = 0;
  const take = (bytes: number) => {
    at += bytes;
    return file.subarray(at - bytes, at);
  };
  const u32 = () => take(4).readUInt32LE();
  const u64 = () => Number(take(8).readBigUInt64LE());
  const text = () => take(u64()).toString();
  const magic = take(4).toString();
  const [version, tensorCount, keys] = [u32(), u64(), u64()];
  const metadata = Object.fromEntries(
    Array.from({ length: keys }, () => {
      const key = text();
      return [key, u32() === 8 ? text() : take(4).readFloatLE()];
    }),
  );
  const infos = Array.from({ length: tensorCount }, () => {
    const name = text();
    const sides = Array.from({ length: u32() }, () => u64());
    return { name, sides, type: u32(), offset: u64() };
  });
  const start = Math.ceil(at / 32) * 32;
  const tensors = infos.map(({ name, sides, type, offset }) => {
    const count = sides.reduce((product, side) => product * side, 1);
    const bytes = Uint8Array.from(
      file.subarray(start + offset, start + offset + count * (type === 0 ? 4 : 2)),
    );
    const values = type === 0 ? new Float32Array(bytes.buffer) : fromF16Bits(new Uint16Array(bytes.buffer));
    return { name, sides, type, offset, values: [...values] };
  });
  return { magic, version, metadata, tensors, padding: file.subarray(at, start) };
}
