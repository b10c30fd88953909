import { Readable } from 'node:stream';
import { test } from 'tap';
import { extract, type Header } from 'tar-stream';
import { type ArchiveFile, adapterArchive } from '../../src/adapter/archive.ts';

/** A file of `bytes` pattern bytes in chunks, that counts how often it is open. */
function patternFile(name: string, bytes: number, options: { actual?: number; fail?: boolean } = {}) {
  const state = { opened: 0, closed: 0 };
  const file: ArchiveFile = {
    name,
    bytes,
    async read() {
      state.opened++;
      return (async function* () {
        try {
          const actual = options.actual ?? bytes;
          for (let at = 0; at < actual; at += 1 << 16) {
            if (options.fail && at > 0) throw new Error('the disk is gone');
            yield Uint8Array.from({ length: Math.min(1 << 16, actual - at) }, (_, i) => (at + i) % 251);
          }
        } finally {
          state.closed++;
        }
      })();
    },
  };
  return { file, state };
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

test('an archive has the foretold length, the same bytes every time, and its files inside', async (t) => {
  const sizes = [300_000, 0, 1, 512, 513];
  const files = sizes.map((bytes, index) => patternFile(`file-${index}.bin`, bytes).file);
  const archive = adapterArchive('adapter_1', files, { modifiedAt: 1_700_000_000_123 });
  const bytes = await collect(archive.stream());
  t.equal(bytes.length, archive.bytes);
  t.ok(bytes.equals(await collect(archive.stream())));

  const found: [string, number][] = [];
  for await (const entry of Readable.from([bytes]).pipe(extract()) as AsyncIterable<
    AsyncIterable<Uint8Array> & { header: Header }
  >) {
    const content = await collect(entry);
    found.push([entry.header.name, content.length]);
    t.equal(entry.header.mtime!.getTime(), 1_700_000_000_000);
    t.ok(content.every((value, index) => value === index % 251));
  }
  t.same(
    found,
    sizes.map((size, index) => [`adapter_1/file-${index}.bin`, size]),
  );
});

test('an archive stops with its reader, and closes what it opened', async (t) => {
  const { file, state } = patternFile('big.bin', 10_000_000);
  const archive = adapterArchive('a', [file], { modifiedAt: 0 });
  let seen = 0;
  for await (const chunk of archive.stream()) {
    seen += chunk.length;
    if (seen > 100_000) break;
  }
  t.same(state, { opened: 1, closed: 1 });
  t.ok(seen < 1_000_000, 'it had not run ahead');

  const controller = new AbortController();
  await t.rejects(
    async () => {
      for await (const _ of archive.stream({ signal: controller.signal })) controller.abort();
    },
    { name: 'AbortError' },
  );
  t.same(state, { opened: 2, closed: 2 });
});

test('an archive that would be wrong ends with an error', async (t) => {
  for (const [label, options, message] of [
    ['a file too short', { actual: 99_999 }, /mismatch/i],
    ['a file too long', { actual: 100_001 }, /mismatch/i],
    ['a file that fails', { fail: true }, /the disk is gone/],
  ] as const) {
    const { file, state } = patternFile('x.bin', 100_000, options);
    await t.rejects(collect(adapterArchive('a', [file], { modifiedAt: 0 }).stream()), { message }, label);
    t.same(state, { opened: 1, closed: 1 });
  }
  const { file } = patternFile('x', 1);
  for (const folder of ['../a', 'a/b', '', 'a'.repeat(101)]) {
    t.throws(() => adapterArchive(folder, [file], { modifiedAt: 0 }), TypeError, `folder ${folder}`);
  }
  t.throws(() => adapterArchive('a', [{ ...file, name: '../x' }], { modifiedAt: 0 }), TypeError);
});
