/** A receiver of webhooks that checks each signature with the library receivers use, and refuses what does not verify. */
import { Webhook as StandardWebhook } from 'standardwebhooks';
import type { Test } from 'tap';
import { SECRET, startReceiver } from '../../helpers/webhook-receiver.ts';

/** What the receiver does with messages. */
export type ReceiverMood = 'takes them' | 'answers 500' | 'never answers';

/** What came of one job. */
export type Told = {
  /** Message id → what was said under it. */
  readonly messages: ReadonlyMap<string, { readonly event: string; readonly body: string }>;
  readonly times: number;
};

/** A receiver that has seen what it was sent. */
export type CheckingReceiver = {
  readonly port: number;
  mood: ReceiverMood;
  /** Messages that were taken, by job. */
  readonly told: ReadonlyMap<string, Told>;
  /** Messages that did not verify although their time was right. */
  readonly forged: readonly string[];
  /** Messages under an id that had another body before. */
  readonly changed: readonly string[];
  /** Messages refused since their sender's clock was wrong. */
  readonly refusedByTime: () => number;
};

/** Starts a receiver, ended with the test. */
export async function startCheckingReceiver(t: Test): Promise<CheckingReceiver> {
  const verifier = new StandardWebhook(SECRET);
  const told = new Map<string, { messages: Map<string, { event: string; body: string }>; times: number }>();
  const [forged, changed]: [string[], string[]] = [[], []];
  let refusedByTime = 0;
  const receiver = await startReceiver((_nth, _response, { headers, body, jobId, event }) => {
    if (state.mood === 'answers 500') return 500;
    if (state.mood === 'never answers') return undefined;
    try {
      verifier.verify(body, headers as Record<string, string>);
    } catch (error) {
      if (/timestamp/i.test(String(error))) refusedByTime += 1;
      else forged.push(`${jobId} ${event}: ${error}`);
      return 401;
    }
    const of = told.get(jobId) ?? { messages: new Map(), times: 0 };
    told.set(jobId, of);
    const id = String(headers['webhook-id']);
    const before = of.messages.get(id);
    if (before && before.body !== body) changed.push(`${jobId} ${event}`);
    of.messages.set(id, { event, body });
    of.times += 1;
    return 204;
  });
  t.teardown(() => receiver.close());
  const state = {
    port: Number(new URL(receiver.url).port),
    mood: 'takes them' as ReceiverMood,
    told,
    forged,
    changed,
    refusedByTime: () => refusedByTime,
  };
  return state;
}
