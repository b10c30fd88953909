/** A tiny base that can be asked, and a chat room that asks it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import { type Chat, type ChatOptions, openChat } from '../../src/chat/chat.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { tinyWeights, writeTinyGguf } from './tiny-llama.ts';

/** The base's id. */
export const TINY_BASE_ID = 'test/base';

/** Puts the tiny base into a new directory of bases, where `template` says with which chat template. */
export async function writeTinyBase(directory: string, template?: string): Promise<void> {
  await mkdir(directory);
  const metadata = template === undefined ? {} : { 'tokenizer.chat_template': template };
  await writeTinyGguf(join(directory, 'tiny.gguf'), tinyWeights(1), metadata);
  await writeFile(join(directory, 'tiny.gguf.json'), JSON.stringify({ base: TINY_BASE_ID }));
}

/** Opens a chat room with the tiny base, and closes it at the end of the test. */
export async function openTinyChat(
  t: Test,
  { template, ...options }: Partial<ChatOptions> & { template?: string } = {},
): Promise<Chat> {
  const directory = join(t.testdir({}), 'bases');
  await writeTinyBase(directory, template);
  const chat = openChat({
    directory,
    known: () => [],
    threads: 1,
    contextTokens: 512,
    concurrency: 2,
    tenantConcurrency: () => 2,
    metrics: createMetrics(),
    idleMs: 60_000,
    environment: process.env,
    logger: pino({ level: 'silent' }),
    ...options,
  });
  t.teardown(() => chat.close());
  return chat;
}
