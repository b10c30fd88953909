/** Debian's Chromium, on the console of a real service. */
import { existsSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import type { Test } from 'tap';
import { DEFAULT_TENANT } from '../../src/base/ids.ts';
import { changeSecretFile, withFirstSecret } from '../../src/webhooks/secret-file.ts';
import { type LoradropProcess, startLoradrop } from '../helpers/loradrop-process.ts';
import { findProgram, SMOLLM2 } from '../helpers/services.ts';
import { SECRET } from '../helpers/webhook-receiver.ts';

/** Longest a step may take on a busy machine. */
const STEP_MS = 120_000;

const program = findProgram('chromium');
/** Why the console cannot be opened here; false where it can. */
export const noBrowser = !program ? 'no Chromium' : !existsSync(SMOLLM2) ? 'no SmolLM2 as GGUF' : false;

type Owner = Pick<Test, 'teardown'>;

/** A service with SmolLM2 as a base to ask, whose webhooks reach this machine. */
export async function startConsole(t: Owner, directory: string): Promise<LoradropProcess> {
  await mkdir(join(directory, 'bases'), { recursive: true });
  await symlink(SMOLLM2, join(directory, 'bases', 'SmolLM2-135M-Instruct.Q4_1.gguf'));
  const secrets = join(directory, 'webhook-secrets.json');
  await changeSecretFile(secrets, (all) =>
    withFirstSecret(all, { owner: DEFAULT_TENANT, secret: SECRET, now: Date.now() }),
  );
  return startLoradrop(t, 'start', {
    DATA_DIR: join(directory, 'data'),
    BASES_DIR: join(directory, 'bases'),
    WEBHOOK_ALLOW: '127.0.0.1',
    WEBHOOK_SECRETS_FILE: secrets,
  });
}

/** Opens a page that tells of every script error, refused load, failed request and message of the browser. */
export async function openPage(
  t: Owner,
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const browser = await chromium.launch({ executablePath: program!, args: ['--no-sandbox'] });
  t.teardown(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('blob:')) complaints.push(request.url());
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? '';
    // The page itself takes back what it needs no more.
    if (reason !== 'net::ERR_ABORTED') complaints.push(`${request.method()} ${request.url()}: ${reason}`);
  });
  return { page, complaints };
}
