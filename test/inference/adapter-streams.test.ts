import { writeSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type Test, test } from 'tap';
import { AdapterStreams } from '../../src/inference/adapter-streams.ts';
import { openSpool } from '../../src/inference/spool.ts';

/** Streams over a real file; `write` does what the child does. */
function open(t: Test) {
  const directory = t.testdir({});
  const spool = openSpool(directory);
  t.teardown(() => spool.close());
  const streams = new AdapterStreams(spool);
  const written = new Map<number, number>();
  const write = (id: number, at: number, bytes: Uint8Array) => {
    const before = written.get(id) ?? 0;
    writeSync(spool.descriptor, bytes, 0, bytes.length, at + before);
    written.set(id, before + bytes.length);
    streams.noteWritten(id, before + bytes.length);
  };
  return { directory, spool, streams, write };
}

const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

test('bytes are read as they are written, in pieces of bounded size', async (t) => {
  const { directory, streams, write } = open(t);
  t.same(await readdir(directory), [], 'the file has no name');
  const at = streams.reserve(1, 5 << 20);
  write(1, at, bytes(10, 1));
  const { pieces } = streams.open(1);
  const reader = pieces[Symbol.asyncIterator]();
  t.equal((await reader.next()).value!.length, 10);
  const next = reader.next();
  write(1, at, bytes((3 << 20) - 10, 2));
  t.equal((await next).value!.length, 1 << 20);
  write(1, at, bytes(2 << 20, 3));
  const sizes: number[] = [];
  for await (const piece of pieces) sizes.push(piece.length);
  t.equal(
    sizes.reduce((a, b) => a + b),
    (4 << 20) - 10,
  );
  t.ok(Math.max(...sizes) <= 1 << 20);
});

test('regions of several do not overlap, and places are used again once nobody needs them', async (t) => {
  const { streams, write } = open(t);
  const [one, two, three] = [streams.reserve(1, 100), streams.reserve(2, 50), streams.reserve(3, 100)];
  for (const [id, at, length] of [
    [1, one!, 100],
    [2, two!, 50],
    [3, three!, 100],
  ] as const) {
    streams.open(id);
    write(id, at, bytes(length, id));
  }
  const second = streams.open(2);
  t.ok((await collect(second.pieces)).every((byte) => byte === 2));
  t.equal(streams.reserve(4, 60), three! + 100, 'it does not fit into the gap');
  t.equal(streams.reserve(5, 50), two);
  t.ok(
    (await collect(streams.open(1).pieces)).every((byte) => byte === 1),
    'whole',
  );
  t.equal(streams.reserve(6, 100), one);
});

test('a place is kept while the child may write to it, though nobody reads', async (t) => {
  const { streams, write } = open(t);
  const at = streams.reserve(1, 100);
  const stream = streams.open(1);
  stream.release();
  stream.release();
  t.not(streams.reserve(2, 100), at);
  write(1, at, bytes(100, 1));
  t.equal(streams.reserve(3, 100), at);
  await t.rejects(collect(stream.pieces), { message: /released/ });
});

test('a failure ends the reading of what was not written, and of nothing else', async (t) => {
  const { streams, write } = open(t);
  const [one, two] = [streams.reserve(1, 100), streams.reserve(2, 100)];
  const [whole, half] = [streams.open(1), streams.open(2)];
  write(1, one!, bytes(100, 1));
  write(2, two!, bytes(40, 2));
  const reading = half.pieces[Symbol.asyncIterator]();
  t.equal((await reading.next()).value!.length, 40);
  const rest = reading.next();
  streams.failAll(new Error('gone'));
  await t.rejects(rest, { message: 'gone' });
  t.equal((await collect(whole.pieces)).length, 100);
  t.equal(streams.reserve(3, 200), 0, 'and both places are free');
  streams.fail(9, new Error('of nobody'));
  streams.noteWritten(9, 1);
});

test('a directory that cannot be written to is told as such', (t) => {
  t.throws(() => openSpool('/nowhere/at/all'), { code: 'no-temporary-space', retryable: true });
  t.end();
});
