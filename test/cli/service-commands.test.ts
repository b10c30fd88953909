import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import type { Job } from '../../src/client/client.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { findProgram } from '../helpers/services.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../src/main.ts');
const PROMPTS = join(import.meta.dirname, '../../examples/science-prompts.jsonl');

test('commands for a running service: submit, watch, list, fetch, cancel', async (t) => {
  const root = t.testdir({});
  const { url } = await startLoradrop(t, 'start', { DATA_DIR: join(root, 'data') });
  const environment = { ...CHILD_ENVIRONMENT, LORADROP_URL: url };
  const loradrop = (...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      execFile(process.execPath, [MAIN, ...args], { env: environment }, (error, out, err) =>
        resolve({ code: error ? Number(error.code) : 0, out, err }),
      );
    });

  const submitted = await loradrop('submit', PROMPTS, '--seed', '7', '--json', '--out', join(root, 'one'));
  t.equal(submitted.code, 0, submitted.err);
  const [job, adapter] = submitted.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Job);
  t.equal(job!.status, 'succeeded');
  t.equal(job!.seed, 7);
  t.match(submitted.err, /100% /, 'progress goes to standard error');
  const weights = join(root, 'one', 'adapter_model.safetensors');
  t.ok((await stat(weights)).size > 2 ** 20);

  // A download that broke off: its part is there, under the name that the command gives it.
  const whole = await readFile(weights);
  const part = join(root, 'one', `.adapter_model.safetensors.${job!.adapters[0]!.sha256!.slice(0, 12)}.part`);
  await rename(weights, part);
  await truncate(part, 1_000_000);
  const again = await loradrop('get', adapter!.id, '--out', join(root, 'one'));
  t.equal(again.code, 0, again.err);
  t.ok(whole.equals(await readFile(weights)));
  t.strictSame((await readdir(join(root, 'one'))).sort(), [
    'adapter_config.json',
    'adapter_model.safetensors',
  ]);
  await rename(weights, part);
  await writeFile(part, Buffer.alloc(1_000_000));
  const damaged = await loradrop('get', adapter!.id, '--out', join(root, 'one'));
  t.equal(damaged.code, 1);
  t.match(damaged.err, /another SHA-256 .* \[download-differs\]/);
  t.equal((await loradrop('get', adapter!.id, '--out', join(root, 'one'))).code, 0, 'then it begins anew');

  const prompts = ['--prompt', 'a question', '--prompt', 'another'];
  const two = await loradrop('submit', ...prompts, '--count', '2', '--out', join(root, 'two'));
  t.equal(two.code, 0, two.err);
  t.equal((await readdir(join(root, 'two'))).length, 2, 'a directory an adapter');

  t.equal((await loradrop('jobs', '--json')).out.trim().split('\n').length, 2);
  t.match((await loradrop('adapters', 'list')).out, adapter!.id);
  t.match((await loradrop('models', 'served')).out, /smollm2-135m +trained/);
  const watched = await loradrop('watch', job!.id);
  t.equal(watched.code, 0);
  t.match(watched.out, /^status +succeeded$/m);

  const long = JSON.parse(
    (await loradrop('submit', ...prompts, '--count', '32', '--seed', '1', '--json')).out,
  ) as Job;
  const watching = spawn(process.execPath, [MAIN, 'watch', long.id, '--json'], { env: environment });
  let seen = '';
  watching.stdout.on('data', (bytes) => (seen += bytes));
  const over = once(watching, 'exit');
  await until(async () => seen.includes('"fraction"'));
  t.match((await loradrop('cancel', long.id)).out, long.id);
  t.equal((await over)[0], 3, 'a job that was canceled is status 3');

  const refused = await loradrop('submit', '--prompt', ' ');
  t.equal(refused.code, 1);
  t.match(refused.err, /prompts-empty/);
  t.equal((await loradrop('submit')).code, 1);
  t.equal((await loradrop('jobs', '--status', 'lost')).code, 2);
  const away = await loradrop('jobs', '--url', 'ftp://there');
  t.match(away.err, /http:\/\/ or https:\/\//);
});

test('shells complete commands, options and choices', async (t) => {
  const script = (shell: string) =>
    new Promise<string>((resolve, reject) => {
      execFile(process.execPath, [MAIN, 'completion', shell], (error, out) =>
        error ? reject(error) : resolve(out),
      );
    });
  const complete = (text: string, words: string) =>
    new Promise<string[]>((resolve, reject) => {
      const line = `${text}\nCOMP_WORDS=(loradrop ${words}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _loradrop; echo "\${COMPREPLY[@]}"`;
      execFile('bash', ['-c', line], (error, out) =>
        error ? reject(error) : resolve(out.trim().split(' ')),
      );
    });
  const bash = await script('bash');
  t.ok((await complete(bash, "''")).includes('submit'));
  t.ok((await complete(bash, "models ''")).includes('served'));
  t.strictSame(await complete(bash, "submit --dtype ''"), ['bf16', 'f16', 'f32']);
  t.strictSame(await complete(bash, 'adapters show --js'), ['--json']);
  t.notMatch(bash, /--key /, 'what help hides is not told');
  const folder = t.testdir({});
  const skipped = (shell: string) => {
    if (process.env['CI']) t.fail(`${shell} is not installed; run: node test/setup-services.ts`);
    t.comment(`SKIPPED: ${shell} is not installed, so its script is not loaded by it`);
  };

  const fish = findProgram('fish');
  if (!fish) skipped('fish');
  else {
    const file = join(folder, 'fish');
    await writeFile(file, await script('fish'));
    const ask = async (line: string) => {
      const { stdout, stderr } = await run(fish, ['-c', `source ${file}; complete -C '${line}'`]);
      t.equal(stderr, '');
      return stdout.split('\n').flatMap((each) => each.split('\t')[0]!.trim() || []);
    };
    t.strictSame(await ask('loradrop submit --dtype '), ['bf16', 'f16', 'f32']);
    t.strictSame(await ask('loradrop adapters sh'), ['show']);
    t.ok((await ask('loradrop ')).includes('submit'));
  }

  // At a prompt of its own, as a person types: Tab after Tab, then what the command is called with.
  const typed = async (shell: string, setUp: string, line: string) => {
    const child = spawn('script', ['-qec', shell, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    let seen = '';
    child.stdout.on('data', (bytes) => (seen += bytes));
    child.stdin.write(`${setUp}; loradrop() { echo "GOT[$*]"; }; echo READY\n`);
    await until(async () => /^READY\r?$/m.test(seen));
    child.stdin.write(`${line}\n`);
    await until(async () => /^GOT\[.*\]\r?$/m.test(seen));
    child.kill('SIGKILL');
    return /^GOT\[(.*)\]\r?$/m.exec(seen)![1];
  };
  const zsh = findProgram('zsh');
  for (const [shell, program, setUp] of [
    ['bash', 'bash --norc -i', ''],
    ['zsh', `${zsh} -f -i`, 'autoload -Uz compinit; compinit -u -D; '],
  ] as const) {
    if (shell === 'zsh' && !zsh) {
      skipped(shell);
      continue;
    }
    const file = join(folder, shell);
    await writeFile(file, await script(shell));
    const ask = (line: string) => typed(program, `${setUp}source ${file}`, line);
    t.equal(await ask('loradrop adap\tsh\t--js\t'), 'adapters show --json', shell);
    t.equal(await ask('loradrop submit --dtype b\t'), 'submit --dtype bf16', shell);
  }
});
