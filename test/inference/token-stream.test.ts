import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'tap';
import { createDecodeStream } from '../../src/inference/decode-stream.ts';
import type { TokenBlock } from '../../src/inference/engine.ts';
import { CHUNK_FLOATS } from '../../src/inference/protocol.ts';
import { createTokenOutbox } from '../../src/inference/token-outbox.ts';

const tokenFloats = 1000;
const tokenCount = 3000;
const tokens = Float32Array.from({ length: tokenCount * tokenFloats }, (_, index) => index);
const slice = ({ start, count }: TokenBlock) =>
  tokens.slice(start * tokenFloats, (start + count) * tokenFloats);

/** The two ends with a channel between them that copies, as the real one does, and counts what is under way. */
function connect(blocks: readonly TokenBlock[]) {
  const seen = { chunks: 0, mostUnread: 0, ended: 0, largest: 0 };
  let asked = 0;
  const outbox = createTokenOutbox({
    async send(_id, values) {
      seen.chunks++;
      seen.largest = Math.max(seen.largest, values.length);
      await delay(1);
      reader.push(values.slice());
    },
  });
  outbox.add(1, { tokens, tokenFloats, blocks });
  const reader = createDecodeStream({
    blocks,
    tokenFloats,
    pull(chunks) {
      asked += chunks;
      seen.mostUnread = Math.max(seen.mostUnread, asked - seen.chunks);
      outbox.pull(1, chunks);
    },
    end() {
      seen.ended++;
      outbox.release(1);
    },
  });
  return { outbox, reader, seen };
}

const same = (a: Float32Array, b: Float32Array) =>
  Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), Buffer.from(b.buffer)) === 0;

test('blocks arrive whole, in the asked order, in chunks of bounded size', async (t) => {
  const blocks = [
    { start: 2500, count: 500 },
    { start: 0, count: 1 },
    { start: 7, count: 0 },
    { start: 1, count: 2000 },
    { start: 0, count: 3 },
  ];
  const { reader, seen } = connect(blocks);
  let index = 0;
  for await (const values of reader.tokens) t.ok(same(values, slice(blocks[index++]!)), `block ${index}`);
  t.equal(index, blocks.length);
  t.equal(seen.chunks, Math.ceil((2504 * tokenFloats) / CHUNK_FLOATS));
  t.equal(seen.largest, CHUNK_FLOATS);
  t.ok(seen.mostUnread <= 4, 'bounded window');
  t.equal(seen.ended, 1);
});

test('small blocks share a chunk', async (t) => {
  const blocks = Array.from({ length: 200 }, (_, start) => ({ start, count: 1 }));
  const { reader, seen } = connect(blocks);
  for await (const values of reader.tokens) t.equal(values.length, tokenFloats);
  t.equal(seen.chunks, 1);
});

test('nothing asked is nothing sent', async (t) => {
  const { reader, seen, outbox } = connect([{ start: 3, count: 0 }]);
  for await (const values of reader.tokens) t.equal(values.length, 0);
  t.strictSame(seen, { chunks: 0, mostUnread: 0, ended: 1, largest: 0 });
  await outbox.quiet();
});

test('a reader that stops early is sent no more', async (t) => {
  const blocks = Array.from({ length: 3000 }, (_, start) => ({ start, count: 1 }));
  const { reader, seen, outbox } = connect(blocks);
  for await (const values of reader.tokens) {
    t.equal(values[0], 0);
    break;
  }
  t.equal(seen.ended, 1);
  const { chunks } = seen;
  t.ok(chunks <= 5);
  outbox.pull(1, 10);
  await outbox.quiet();
  t.equal(seen.chunks, chunks);
});

test('a failure reaches a reader that waits', async (t) => {
  const reader = createDecodeStream({
    blocks: [{ start: 0, count: 1 }],
    tokenFloats,
    pull: () => setImmediate(() => reader.fail(new Error('lost'))),
    end: () => {},
  });
  await t.rejects(reader.tokens[Symbol.asyncIterator]().next(), { message: 'lost' });
});

test('a decode that is never read is given back once, and reading it then fails', async (t) => {
  const { reader, seen, outbox } = connect([{ start: 0, count: 3000 }]);
  reader.release();
  reader.release();
  t.equal(seen.ended, 1);
  outbox.pull(1, 1);
  await outbox.quiet();
  t.equal(seen.chunks, 0);
  await t.rejects(reader.tokens[Symbol.asyncIterator]().next(), { message: /released/ });
  t.equal(seen.ended, 1);
});

test('the device waits for a reader that reads, and not for one that does not', async (t) => {
  const { reader, outbox, seen } = connect([{ start: 0, count: 3000 }]);
  const chunksWhenQuiet = outbox.quiet().then(() => seen.chunks);
  for await (const values of reader.tokens) t.equal(values.length, 3000 * tokenFloats);
  t.equal(await chunksWhenQuiet, Math.ceil((3000 * tokenFloats) / CHUNK_FLOATS));

  const idle = connect([{ start: 0, count: 3000 }]);
  await idle.outbox.quiet();
  t.equal(idle.seen.chunks, 0, 'nobody has read anything');
});
