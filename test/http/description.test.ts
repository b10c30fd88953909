import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Problem } from '../../src/http/problem.ts';
import type { Job, Model } from '../../src/http/schemas.ts';
import { openModelRegistry } from '../../src/models/registry.ts';
import { importSmallT2l } from '../models/import/t2l/small-bundle.ts';
import { importSmallBundle } from '../models/small-bundle.ts';
import { startApi } from './start-api.ts';

test('a model that takes a description', async (t) => {
  const root = t.testdir({});
  await importSmallT2l(root);
  await importSmallBundle(root);
  const models = await openModelRegistry({ directory: join(root, 'bundles'), defaultId: 'tiny-t2l' });
  // Jobs are accepted and wait: test/e2e/description.test.ts runs such jobs.
  const { app } = await startApi(t, { work: false, services: { models } });
  const post = (payload: Record<string, unknown>, url = '/generate') =>
    app.inject({ method: 'POST', url, payload });
  const refused = async (
    t: Test,
    payload: Record<string, unknown>,
    expected: { code: string; status: number; detail: RegExp; pointer: string },
  ) => {
    const { pointer, ...problem } = expected;
    for (const url of ['/generate', '/prompts/preview']) {
      const answer = (await post(payload, url)).json<Problem>();
      t.match(answer, { ...problem, errors: [{ pointer }] }, `${url} ${JSON.stringify(payload)}`);
    }
  };

  await t.test('/models tells what each model is and wants', async (t) => {
    const { models: listed } = (await app.inject('/models')).json<{ models: Model[] }>();
    const byId = new Map(listed.map((model) => [model.id, model]));
    t.match(byId.get('tiny-t2l'), {
      family: 't2l',
      takes: 'description',
      base: { id: 'example/tiny', architecture: 'mistral' },
      lora: { rank: 4, alpha: 8, rsLora: true, targetModules: ['q_proj', 'v_proj'] },
      condition: { prompts: 1, tokens: 8192 },
    });
    t.match(byId.get('tiny'), { family: 'dnd', takes: 'prompts' });
    t.notOk('rsLora' in byId.get('tiny')!.lora);
    t.equal((await app.inject('/models/tiny-t2l')).json<Model>().takes, 'description');
  });

  await t.test('one text, either way, is the same request', async (t) => {
    const text = 'Answer questions about physics';
    const described = await post({ description: text });
    t.equal(described.statusCode, 202, described.body);
    const job = described.json<Job>();
    t.match(job, { count: 1, model: 'tiny-t2l', promptSource: { field: 'description', rows: 1 } });
    const { promptDigests } = job.adapters[0]!;
    const asPrompt = (await post({ prompts: [text] })).json<Job>();
    t.ok(promptDigests);
    t.same(asPrompt.adapters[0]!.promptDigests, promptDigests);
    const lines = await app.inject({
      method: 'POST',
      url: '/generate',
      headers: { 'content-type': 'text/plain' },
      payload: `${text}\n`,
    });
    t.same(lines.json<Job>().adapters[0]!.promptDigests, promptDigests);
    const put = (payload: object) =>
      app.inject({ method: 'PUT', url: '/generate/once', payload: { seed: 1, ...payload } });
    t.equal((await put({ description: text })).statusCode, 202);
    t.equal((await put({ prompts: [text] })).statusCode < 300, true, 'a repeat under its id');
    t.match((await put({ description: 'Another' })).json(), { code: 'job-conflict' });

    const preview = (await post({ description: text }, '/prompts/preview')).json();
    t.match(preview, { count: 1, wanted: 1, tokenLimit: 8192, source: { field: 'description' } });
  });

  await t.test('what it cannot do has answers of its own', async (t) => {
    const description = 'Answer questions';
    const one = { code: 'one-description', status: 422 };
    await refused(
      t,
      { prompts: ['a', 'b', 'c'] },
      { ...one, detail: /3 texts were sent/, pointer: '/prompts' },
    );
    await refused(t, { description, count: 2 }, { ...one, detail: /2 were asked for/, pointer: '/count' });
    await refused(
      t,
      { description, count: 2, keep: 'mean' },
      { ...one, detail: /2 were/, pointer: '/count' },
    );
    await refused(
      t,
      { description, strictPrompts: true },
      { ...one, detail: /strictPrompts/, pointer: '/strictPrompts' },
    );
    const conflict = { code: 'options-conflict', status: 400 };
    await refused(
      t,
      { description, prompts: ['a'] },
      { ...conflict, detail: /only text/, pointer: '/prompts' },
    );
    await refused(
      t,
      { description, promptField: 'question' },
      { ...conflict, detail: /only text/, pointer: '/promptField' },
    );
    await refused(
      t,
      { description, model: 'tiny' },
      { ...conflict, detail: /takes prompts of a task/, pointer: '/description' },
    );
    await refused(
      t,
      { description: '  ' },
      { code: 'prompts-empty', status: 400, detail: /cannot be used/, pointer: '/description' },
    );
    await refused(
      t,
      {},
      { code: 'request-invalid', status: 400, detail: /does not fit/, pointer: '/prompts' },
    );
    await refused(
      t,
      { description: 7 },
      { code: 'request-invalid', status: 400, detail: /does not fit/, pointer: '/description' },
    );
  });
});
