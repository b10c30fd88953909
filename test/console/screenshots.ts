/**
 * Pictures of the console, made with a real service and looked at by people:
 *
 *     node test/console/screenshots.ts              docs/console.png, which README and docs/try.md show
 *     node test/console/screenshots.ts DIRECTORY    every view on a desktop and a phone, light and dark
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { createClient } from '../../src/client/client.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';
import { noBrowser, openPage, startConsole } from './browser.ts';

if (noBrowser) throw new Error(`${noBrowser}; run: node test/setup-services.ts`);
const root = join(import.meta.dirname, '..', '..');
const [out] = process.argv.slice(2);

const steps: (() => unknown)[] = [];
const owner = { teardown: (step: () => unknown) => void steps.unshift(step) } as Parameters<
  typeof openPage
>[0];
try {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-pictures-'));
  owner.teardown(() => rm(directory, { recursive: true, force: true }));
  const { url } = await startConsole(owner, directory);
  const receiver = await startReceiver();
  owner.teardown(() => receiver.close());
  const client = createClient({ url });
  const lines = await readFile(join(root, 'examples', 'yes-no-prompts.jsonl'), 'utf8');
  const prompts = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).prompt as string);
  const jobs = [];
  for (const seed of [1, 2]) {
    const webhook = { url: receiver.url };
    jobs.push(await client.generate({ prompts, seed, name: `yes-no-${seed}`, webhook }));
  }
  const ended = [];
  for (const { id } of jobs) ended.push(await client.waitForJob(id));
  const { id } = ended[0]!.adapters[0]!;

  const views: readonly (readonly [name: string, path: string, there: string])[] = [
    ['make', '', '#prompts'],
    ['jobs', 'jobs', 'td a'],
    ['job', `jobs/${ended[0]!.id}`, '.badge.delivered'],
    ['adapters', 'adapters', 'td a'],
    ['adapter', `adapters/${id}`, 'svg[aria-label*="modules in"]'],
    ['models', 'models', 'svg'],
    ['account', 'account', 'h2'],
    ['try', `try/${id}`, '#question'],
  ];
  const show = async (page: Page, [name, path, there]: (typeof views)[number]) => {
    await page.goto(`${url}/#/${path}`);
    await page.waitForSelector(there);
    if (name === 'make') {
      await page.fill('#prompts', lines);
      await page.waitForSelector('text=Duplicates');
    }
    if (name === 'try') {
      await page.fill('#question', 'Does the moon orbit the Earth?');
      await page.click('text=Ask both');
      await page.waitForSelector('.answer[aria-busy=true]');
      await page.waitForSelector('.answer[aria-busy=true]', { state: 'detached' });
    }
  };
  if (out === undefined) {
    const { page } = await openPage(owner, url, { viewport: { width: 1180, height: 900 } });
    await show(page, views.find(([name]) => name === 'adapter')!);
    await page.selectOption('#other', { index: 1 });
    await page.waitForSelector('text=Cosine');
    await page.screenshot({ path: join(root, 'docs', 'console.png') });
  } else {
    await mkdir(out, { recursive: true });
    for (const [screen, viewport] of [
      ['desktop', { width: 1280, height: 800 }],
      ['phone', { width: 375, height: 740 }],
    ] as const) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const isMobile = screen === 'phone';
        const { page } = await openPage(owner, url, { viewport, colorScheme, isMobile });
        for (const view of views) {
          await show(page, view);
          await page.screenshot({
            path: join(out, `${view[0]}-${screen}-${colorScheme}.png`),
            fullPage: true,
          });
        }
      }
    }
  }
} finally {
  for (const step of steps) await step();
}
