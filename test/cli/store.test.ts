import { type ChildProcess, execFile } from 'node:child_process';
import { access, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { openLocalStore } from '../../src/store/local.ts';
import type { AdapterStore } from '../../src/store/store.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { objectStorageEnvironment, startVersitygw, TEST_BUCKET } from '../helpers/object-storage.ts';
import { startFaultProxy } from '../store/fault-proxy.ts';
import { patternBytes, sampleRecord } from '../suites/store-samples.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** Runs `loradrop store copy …`. */
function storeCopy(
  args: readonly string[],
  environment: Record<string, string> = {},
  onStart: (child: ChildProcess) => void = () => {},
) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [main, 'store', 'copy', ...args],
      { env: { ...CHILD_ENVIRONMENT, ...environment } },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
    onStart(child);
  });
}

async function fill(store: AdapterStore, count: number): Promise<void> {
  for (let at = 0; at < count; at++) {
    const draft = await store.of(at % 2 === 0 ? 'default' : 'acme').draft(`a${at}`);
    await draft.write('weights.bin', [patternBytes(10_000, at)]);
    await draft.publish(sampleRecord({ expiresAt: Date.now() + 3_600_000 }));
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

test('a directory is copied into another, once, and wrong usage is told', async (t) => {
  t.testdir({});
  const [from, to] = [join(t.testdirName, 'from'), join(t.testdirName, 'to')];
  const store = await openLocalStore({ directory: from });
  t.teardown(() => store.close());
  await fill(store, 5);

  const dry = await storeCopy(['--from', from, '--to', to, '--dry-run']);
  t.match(dry, { code: 0, out: /^5 adapters to copy \(48\.8 KiB\), 0 there already/ });
  t.notOk(await exists(to), 'a dry run makes no directory');
  const one = await storeCopy(['--from', from, '--to', `file://${to}`, '--tenant', 'acme']);
  t.match(one, { code: 0, out: /^2 adapters copied \(19\.5 KiB\), 0 there already, 0 expired/ });
  t.strictSame(await readdir(join(to, 'adapters')), ['acme']);
  t.match(await storeCopy(['--from', from, '--to', to]), {
    code: 0,
    out: /^3 adapters copied .*, 2 there already/,
  });
  t.match(await storeCopy(['--from', from, '--to', to]), {
    code: 0,
    out: /^0 adapters copied .*, 5 there already/,
  });

  await writeFile(join(store.of('default').location('a0'), 'weights.bin'), patternBytes(10_000, 99));
  const target = join(t.testdirName, 'again');
  const damaged = await storeCopy(['--from', from, '--to', target]);
  t.match(damaged, {
    code: 1,
    out: /^4 adapters copied .*, 1 with errors/,
    err: /default\/a0: .*\[stored-file-damaged\]/,
  });
  t.match(damaged.err, /\[copy-incomplete\]/);
  t.notMatch(damaged.err, /at .*\.ts/, 'no stack');

  const missing = join(t.testdirName, 'missing');
  t.match(await storeCopy(['--from', missing, '--to', to]), { code: 1, err: /\[input-unusable\]/ });
  t.notOk(await exists(missing));
  t.match(await storeCopy(['--from', from, '--to', to, '--tenant', 'No']), { code: 1, err: /--tenant/ });
  t.match(await storeCopy(['--from', from, '--to', 'gs://x']), { code: 1, err: /\[store-address-invalid\]/ });
  t.equal((await storeCopy(['--from', from])).code, 2);
});

test('Ctrl-C ends it between two adapters, and the same command goes on', async (t) => {
  const server = await startVersitygw(t);
  if (!server) return;
  const proxy = await startFaultProxy(t, server.port);
  t.testdir({});
  const store = await openLocalStore({ directory: t.testdirName });
  t.teardown(() => store.close());
  await fill(store, 12);
  const args = [
    '--from',
    t.testdirName,
    '--to',
    `s3://${TEST_BUCKET}/moved`,
    '--s3-force-path-style',
    'true',
  ];
  const environment = objectStorageEnvironment(proxy.port);
  let records = 0;
  const stopped = await storeCopy(args, environment, (child) => {
    proxy.fault = ({ method, url = '' }) => {
      if (method !== 'PUT' || !url.includes('adapter.json')) return false;
      records += 1;
      // Once: a second one ends the process as it stands.
      if (records === 2) child.kill('SIGINT');
      return false;
    };
  });
  t.match(stopped, { code: 1, out: '', err: /Interrupted: .*goes on from there\. \[canceled\]/ });
  proxy.fault = () => false;
  const again = await storeCopy(args, environment);
  const [, copied, there] = /^(\d+) adapters copied .*, (\d+) there already/.exec(again.out) ?? [];
  t.equal(again.code, 0, again.err);
  t.ok(Number(there) >= 1 && Number(copied) >= 1, again.out);
  t.equal(Number(there) + Number(copied), 12);
});
