/** One entry of a zip archive, with the places in the archive where a test can falsify it. */
export type ZipEntry = {
  readonly name: string;
  /** Where its record in the central directory begins. */
  readonly record: number;
  /** Where its bytes begin. */
  readonly start: number;
  readonly bytes: number;
};

/** Offsets of fields in a record of the central directory (APPNOTE 4.3.12). */
export const RECORD = {
  flags: 8,
  method: 10,
  compressed: 20,
  uncompressed: 24,
  header: 42,
  name: 46,
} as const;

/** Where the end-of-directory record begins, in an archive without a comment. */
export function directoryEnd(archive: Buffer): number {
  return archive.length - 22;
}

/** The entries of an archive that is whole, by their names without the top folder. */
export function zipEntries(archive: Buffer): ReadonlyMap<string, ZipEntry> {
  const end = directoryEnd(archive);
  const entries = new Map<string, ZipEntry>();
  let record = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((at) => archive.readUInt16LE(record + at));
    const name = archive.toString('utf8', record + RECORD.name, record + RECORD.name + nameBytes!);
    const header = archive.readUInt32LE(record + RECORD.header);
    entries.set(name.slice(name.indexOf('/') + 1), {
      name,
      record,
      start: header + 30 + archive.readUInt16LE(header + 26) + archive.readUInt16LE(header + 28),
      bytes: archive.readUInt32LE(record + RECORD.compressed),
    });
    record += RECORD.name + nameBytes! + extraBytes! + commentBytes!;
  }
  return entries;
}
