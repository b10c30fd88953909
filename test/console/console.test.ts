/** The console in a real Chromium, against a real service: from pasted prompts to an answer that differs from the base's. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { test } from 'tap';
import { createClient } from '../../src/client/client.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';
import { openPage, noBrowser as skip, startConsole } from './browser.ts';

const root = join(import.meta.dirname, '..', '..');
if (skip && process.env['CI']) throw new Error(`${skip}; run: node test/setup-services.ts`);
if (skip) console.error(`NOT TESTED: the console in a browser (${skip}).`);

const axe = await readFile(join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8');

async function violations(page: Page): Promise<string[]> {
  // By the debugger and not as a script of the page, whose policy would refuse it.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    type Result = { violations: { id: string; nodes: { target: string[] }[] }[] };
    const { run } = (globalThis as unknown as { axe: { run(): Promise<Result> } }).axe;
    return (await run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.target.join(' ')}`);
  });
}

/** How wide the page is, with what can only be seen by moving it. */
const widthOf = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const { document } = globalThis as unknown as { document: { documentElement: { scrollWidth: number } } };
    return document.documentElement.scrollWidth;
  });

test('a person makes an adapter and tries it', { skip, timeout: 900_000 }, async (t) => {
  const { url } = await startConsole(t, t.testdir({}));
  const prompts = await readFile(join(root, 'examples', 'yes-no-prompts.jsonl'), 'utf8');

  await t.test('from paste to an answer that differs, with the keyboard alone', async (t) => {
    const { page, complaints } = await openPage(t, url);
    await page.goto(`${url}/`);
    await page.waitForSelector('#prompts');
    /** Presses Tab until what has the focus is called so. */
    const tabTo = async (name: RegExp) => {
      for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press('Tab');
        const label = await page.evaluate(() => {
          const { document } = globalThis as unknown as {
            document: { activeElement: { id: string; textContent: string } };
          };
          return document.activeElement.id || document.activeElement.textContent;
        });
        if (name.test(label)) return;
      }
      t.fail(`nothing that is called ${name} can be reached`);
    };
    await tabTo(/^prompts$/);
    await page.keyboard.insertText(prompts);
    await page.waitForSelector('text=Duplicates');
    t.match(await page.textContent('.facts'), /Prompts48.*Duplicates0.*Read fromprompt/s);
    t.strictSame(await violations(page), []);
    await tabTo(/^name$/);
    await page.keyboard.insertText('yes-no');
    await tabTo(/^Make an adapter$/);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.badge.succeeded');
    t.strictSame(await violations(page), []);
    await tabTo(/^Look at /);
    await page.keyboard.press('Enter');
    await page.waitForSelector('svg[aria-label*="7 modules in 30 layers"]');
    t.strictSame(await violations(page), []);
    await tabTo(/^Try it beside the base$/);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#question');
    await tabTo(/^question$/);
    await page.keyboard.insertText('Does the moon orbit the Earth?');
    await tabTo(/^Ask both$/);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.answer[aria-busy=true]');
    await page.waitForSelector('.answer[aria-busy=true]', { state: 'detached' });
    const [base, adapted] = await page.locator('.answer .text').allTextContents();
    t.match(base, /moon/i);
    t.not(adapted, base, `${adapted} | ${base}`);
    t.match((await page.locator('.answer').allTextContents()).join(), /\d+ tokens? in .*\d+ tokens? in /s);
    t.strictSame(await violations(page), []);
    await page.setViewportSize({ width: 375, height: 740 });
    t.equal(await widthOf(page), 375, 'answers are on the screen of a phone, too');
    t.strictSame(complaints, [], 'no violation of the policy, no error, no foreign address');
  });

  await t.test('a delivery that ended is sent once more', async (t) => {
    const receiver = await startReceiver();
    t.teardown(() => receiver.close());
    const client = createClient({ url });
    const webhook = { url: receiver.url, events: ['job.succeeded' as const] };
    const job = await client.generate({ prompts: ['Is tin a metal?'], seed: 1, webhook });
    await client.waitForJob(job.id);
    const { page, complaints } = await openPage(t, url);
    await page.goto(`${url}/#/jobs/${job.id}`);
    for (;;) {
      await page.getByRole('button', { name: 'Refresh' }).click();
      if ((await page.locator('.badge.delivered').count()) > 0) break;
    }
    t.equal(receiver.events(job.id).length, 1);
    t.strictSame(await violations(page), []);
    await page.getByRole('button', { name: 'Send again: job.succeeded' }).click();
    await receiver.waitFor(2);
    t.strictSame(receiver.events(job.id), ['job.succeeded', 'job.succeeded']);
    const [first, second] = receiver.received.map(({ headers }) => headers['webhook-id']);
    t.equal(second, first, 'the same message');
    t.strictSame(complaints, []);
  });

  await t.test('every view on a phone, dark: no violation, nothing wider than the screen', async (t) => {
    const { page, complaints } = await openPage(t, url, {
      viewport: { width: 375, height: 740 },
      colorScheme: 'dark',
      isMobile: true,
    });
    await page.goto(`${url}/`);
    for (const [view, there] of [
      ['jobs', 'td a'],
      ['adapters', 'td a'],
      ['models', 'svg'],
      ['account', 'h2'],
      ['try', '#question'],
      ['', '#prompts'],
    ]) {
      await page.goto(`${url}/#/${view}`);
      await page.waitForSelector(there!);
      t.strictSame(await violations(page), [], view!);
      const width = await widthOf(page);
      t.ok(width <= 375, `${view}: ${width}`);
      if (view !== 'models') continue;
      // Texts of charts are as large on the screen as they are drawn, and no chart has to be moved to be read.
      for (const chart of await page.locator('svg.intervals').all()) {
        const box = (await chart.boundingBox())!;
        t.ok(box.x >= 0 && box.x + box.width <= 375, 'the chart is on the screen');
        t.ok(box.width / 360 > 0.8, `letters of ${((12 * box.width) / 360).toFixed(1)} pixels`);
      }
      t.match(
        await page.locator('svg.intervals').first().textContent(),
        /\(\S+ to \S+\)/,
        'intervals in words',
      );
    }
    t.strictSame(complaints, []);
  });
});
