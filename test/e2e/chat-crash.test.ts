/** llama.cpp's process dies in the middle of an answer while an adapter is made: the adapter is none the wiser. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'tap';
import { createClient } from '../../src/client/client.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { TINY_BASE_ID, writeTinyBase } from '../helpers/tiny-base.ts';

const prompts = ['Is tin a metal?', 'Is air a liquid?', 'Is the sea salty?'];
/** Adapters of the job: enough that it runs on for seconds. */
const COUNT = 12;
/** The only answer that is allowed: left to itself, a base of random weights may say nothing at all, and be done before it is killed. */
const LONG_ANSWER = 'It is not. '.repeat(36);

test('a SIGKILL of llama.cpp’s process leaves a running generation untouched', async (t) => {
  const directory = t.testdir({});
  await writeTinyBase(join(directory, 'bases'));
  const service = await startLoradrop(t, 'start', {
    DATA_DIR: join(directory, 'data'),
    BASES_DIR: join(directory, 'bases'),
  });
  const client = createClient({ url: service.url });
  const engineOf = () => childOf(service.child.pid!, 'inference/child');
  const engine = engineOf();
  const body = { prompts, seed: 1, count: COUNT };
  const ask = () =>
    fetch(`${service.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: TINY_BASE_ID,
        messages: [{ role: 'user', content: 'What is it?' }],
        max_tokens: 440,
        structured_outputs: { choice: [LONG_ANSWER] },
        stream: true,
      }),
    });

  // Its process starts before the job does, so that it can die early in it.
  t.match(await (await ask()).text(), /\[DONE\]/);
  const job = await client.generate(body);
  let kills = 0;
  for await (const event of client.followJob(job.id)) {
    if (event.type === 'ended') {
      t.match(event.job, { status: 'succeeded', adapters: { length: COUNT } });
      break;
    }
    if (event.progress.status !== 'processing' || kills > 0) continue;
    const answer = await ask();
    t.equal(answer.status, 200);
    process.kill(childOf(service.child.pid!, 'chat/child'), 'SIGKILL');
    kills += 1;
    t.match(await answer.text(), /"code":"chat-lost"/);
    t.equal((await client.getJob(job.id)).status, 'processing', 'it died while the job ran');
  }
  t.equal(kills, 1);
  t.equal(engineOf(), engine, 'the inference process is the same');
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  t.match(metrics, /^loradrop_engine_restarts_total(?:\{.*\})? 0$/m);
  t.notMatch(metrics, /^loradrop_job_runs_repeated_total\{/m, 'no run was repeated');
  await until(async () => (await ask()).ok);
});

/** The process of `parent` that runs this file. */
function childOf(parent: number, file: string): number {
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], {
    encoding: 'utf8',
  }).split('\n');
  return Number(
    lines
      .find((line) => line.includes(file))
      ?.trim()
      .split(' ')[0],
  );
}
