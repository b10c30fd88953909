import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'tap';

const module = join(import.meta.dirname, '..', '..', 'src', 'cli', 'stop-signals.ts');
/** Tells when the first signal came, and would never end by itself. */
const SCRIPT = `
  import { stopSignal } from ${JSON.stringify(module)};
  stopSignal().addEventListener('abort', () => console.log('stopping'));
  setInterval(() => {}, 1000);
  console.log('started as ' + process.pid);
`;
const node = [process.execPath, '--input-type=module', '--eval', SCRIPT];

async function signalTwice(
  command: readonly string[],
  send: (child: ReturnType<typeof spawn>) => Promise<void>,
) {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines: string[] = [];
  for await (const chunk of child.stdout!) {
    lines.push(...String(chunk).trim().split('\n'));
    // The first signal once it runs, the second once it has heard the first.
    await send(child);
  }
  const [code, signal] = await ended;
  return { lines, code, signal };
}

test('the first signal asks to stop, the second ends the process', async (t) => {
  const { lines, code, signal } = await signalTwice(node, async (child) => {
    child.kill('SIGTERM');
  });
  t.match(lines, [/^started as/, 'stopping']);
  t.strictSame([code, signal], [null, 'SIGTERM'], 'the way of the system');
});

test('process 1 of a container is ended by the second signal too', async (t) => {
  if (process.getuid?.() !== 0) {
    t.pass('a namespace', { skip: 'NOT TESTED: needs root' });
    return;
  }
  // The signals come from outside of its namespace, as a container runtime sends them.
  const inner = async (child: ReturnType<typeof spawn>) => {
    const pids = spawn('pgrep', ['-P', String(child.pid)], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    for await (const chunk of pids.stdout) text += chunk;
    process.kill(Number(text), 'SIGTERM');
  };
  const { lines, code } = await signalTwice(['unshare', '--pid', '--fork', ...node], inner);
  t.strictSame(lines, ['started as 1', 'stopping']);
  t.equal(code, 128 + 15);
});
