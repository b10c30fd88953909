import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { createPatientDrafts } from '../../src/jobs/patient-drafts.ts';
import { storeErrors } from '../../src/store/errors.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { logger } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { collect } from '../suites/store.ts';
import { defaultStore, patternBytes, sampleRecord } from '../suites/store-samples.ts';

const BYTES = 600_000;
const file = 'adapter_model.safetensors';
const idle = new AbortController().signal;
const about = { bytes: BYTES, until: Number.POSITIVE_INFINITY, signal: idle, logger };

/** An adapter's bytes as a decoder brings them, once. */
function decode() {
  const state = { pieces: 0, ended: false };
  async function* content() {
    try {
      for (let from = 0; from < BYTES; from += 50_000) {
        state.pieces += 1;
        yield patternBytes(BYTES).subarray(from, from + 50_000);
      }
    } finally {
      state.ended = true;
    }
  }
  return { state, content };
}

/** A store on a disk of a mebibyte, more than half of which something else takes until it is told to go. */
async function onFullDisk(t: Test) {
  const directory = await mountSmallDisk(t);
  if (directory === undefined) return undefined;
  const store = defaultStore(await openLocalStore({ directory }));
  t.teardown(() => store.close());
  const filler = join(directory, 'filler');
  await writeFile(filler, patternBytes(BYTES));
  const storeReady = () => store.all.ready({ bytes: BYTES });
  return {
    store,
    storeReady,
    makeRoom: () => rm(filler),
    left: () => readdir(join(directory, '.drafts')),
  };
}

test('what was decoded before the store was full is stored once there is room', async (t) => {
  const disk = await onFullDisk(t);
  if (!disk) return;
  const { store, storeReady, makeRoom, left } = disk;
  const drafts = createPatientDrafts({ maxBytes: BYTES, storeReady, pauseMs: 20 });
  const { state, content } = decode();
  const draft = await drafts.open(store, 'one', about);
  const writing = draft.write(file, content());
  await until(async () => drafts.waiting() === 1);
  t.equal(state.pieces, 12, 'all of it was taken in, so that the decoder is free');
  t.same(await left(), [], 'what was written of it takes no room');
  t.equal(await store.find('one'), undefined);
  await makeRoom();
  t.match(await writing, { name: file, bytes: BYTES });
  await draft.write('adapter_config.json', [new TextEncoder().encode('{}')]);
  await draft.publish(sampleRecord());
  await draft.discard();
  t.equal(state.pieces, 12, 'and was made once');
  t.ok((await collect(await store.read('one', file))).equals(patternBytes(BYTES)));
  t.equal(drafts.waiting(), 0);
  t.same(await left(), []);
});

test('adapters that waited are written one after the other, so that each finds the room there is', async (t) => {
  const disk = await onFullDisk(t);
  if (!disk) return;
  const { store, storeReady, makeRoom } = disk;
  const drafts = createPatientDrafts({ maxBytes: 3 * BYTES, storeReady, pauseMs: 20 });
  // Slow enough that those who do not wait for each other meet.
  const writing = { now: 0, most: 0 };
  const slow = {
    async draft(id: string) {
      const draft = await store.draft(id);
      const write: typeof draft.write = async (...args) => {
        writing.now += 1;
        writing.most = Math.max(writing.most, writing.now);
        await delay(100);
        return await draft.write(...args).finally(() => (writing.now -= 1));
      };
      return { ...draft, write };
    },
  };
  const work = async (id: string) => {
    const draft = await drafts.open(slow, id, about);
    try {
      await draft.write(file, decode().content());
      await draft.publish(sampleRecord());
    } finally {
      await draft.discard();
    }
    return id;
  };
  const left = new Map(['one', 'two', 'three'].map((id) => [id, work(id)]));
  await until(async () => drafts.waiting() === 3);
  writing.most = 0;
  await makeRoom();
  // There is room for one at a time.
  while (left.size > 0) {
    const id = await Promise.race(left.values());
    left.delete(id);
    t.ok((await collect(await store.read(id, file))).equals(patternBytes(BYTES)), id);
    t.equal(drafts.waiting(), left.size);
    await store.remove(id);
  }
  t.equal(writing.most, 1);
});

test('the wait ends with the job, its time or its worker, and gives the memory back', async (t) => {
  const disk = await onFullDisk(t);
  if (!disk) return;
  const { store, storeReady, left } = disk;
  const clock = { now: 1000 };
  const drafts = createPatientDrafts({ maxBytes: BYTES, storeReady, pauseMs: 20, now: () => clock.now });
  const stop = new AbortController();
  const stopped = await drafts.open(store, 'stopped', { ...about, signal: stop.signal });
  const { state, content } = decode();
  const writing = stopped.write(file, content());
  writing.catch(() => undefined);
  await until(async () => drafts.waiting() === 1);

  const beside = await drafts.open(store, 'beside', about);
  await t.rejects(beside.write(file, decode().content()), { code: 'store-full' }, 'no memory for two');
  await beside.discard();

  stop.abort(new Error('the worker stops'));
  await t.rejects(writing, { message: 'the worker stops' });
  await stopped.discard();
  await stopped.discard();
  t.ok(state.ended, 'the decoder’s stream is closed');

  const late = await drafts.open(store, 'late', { ...about, until: 2000 });
  const waits = late.write(file, decode().content());
  waits.catch(() => undefined);
  await until(async () => drafts.waiting() === 1);
  clock.now = 2001;
  await t.rejects(waits, { code: 'store-full' });
  await late.discard();
  t.equal(drafts.waiting(), 0);
  t.same(await left(), []);
});

test('a failure of one adapter in a store that works is its own after some repeats, and one of the decoder at once', async (t) => {
  const store = defaultStore(await openLocalStore({ directory: t.testdir({}) }));
  t.teardown(() => store.close());
  const drafts = createPatientDrafts({ maxBytes: BYTES, storeReady: () => store.ready(), pauseMs: 1 });
  let failures = 2;
  const flaky = {
    async draft(id: string) {
      const draft = await store.draft(id);
      return {
        ...draft,
        async publish(...facts: Parameters<typeof draft.publish>) {
          if (failures-- > 0) throw storeErrors.unavailable('Other bytes arrived.');
          return draft.publish(...facts);
        },
      };
    },
  };
  const publish = async (id: string, state = decode()) => {
    const draft = await drafts.open(flaky, id, about);
    try {
      await draft.write(file, state.content());
      await draft.publish(sampleRecord());
    } finally {
      await draft.discard();
    }
    return state.state.pieces;
  };
  t.equal(await publish('one'), 12);
  t.ok(await store.find('one'));
  failures = 3;
  await t.rejects(publish('two'), { code: 'store-unavailable', message: /Other bytes/ });
  t.equal(await store.find('two'), undefined);

  const broken = await drafts.open(store, 'three', about);
  async function* failing() {
    yield patternBytes(10);
    throw new Error('the decoder failed');
  }
  await t.rejects(broken.write(file, failing()), { message: 'the decoder failed' });
  await broken.discard();
});
