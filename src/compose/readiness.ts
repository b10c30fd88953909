/** Whether a process can do its work, part by part. */
import type { KeyRing } from '../access/key-ring.ts';
import { toLoradropError } from '../base/errors.ts';
import type { Readiness, ReadinessPart } from '../http/services.ts';
import type { Engine } from '../inference/engine.ts';
import type { Webhooks } from '../jobs/open-webhooks.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { StoreHealth } from '../store/store-health.ts';

type Parts = {
  readonly queue: { ready(): Promise<void> };
  readonly health: StoreHealth;
  readonly models: ModelRegistry;
  readonly engine: Engine | undefined;
  /** Jobs are taken. */
  readonly working: boolean;
  readonly keys: KeyRing | undefined;
  readonly secrets: Webhooks['secrets'];
};

/** Asks every part of a process whether it can do its work. The engine counts as ready once jobs are taken. */
export async function checkReadiness(from: Parts): Promise<Readiness> {
  const { queue, health, models, engine, working, keys, secrets } = from;
  const answers = (promise: Promise<void>): Promise<ReadinessPart> =>
    promise.then(
      () => ({ ready: true }),
      (error) => ({ ready: false, detail: toLoradropError(error).message }),
    );
  const parts: Record<string, ReadinessPart> = {
    queue: await answers(queue.ready()),
    store: await answers(health.check()),
    models: { ready: models.list().length > 0 },
    // The last good keys hold, so this is to be seen and no reason to stop sending requests.
    ...(keys?.damage && { keys: { ready: true, detail: `${keys.damage.title} ${keys.damage.message}` } }),
    ...(secrets.damage && {
      webhooks: { ready: true, detail: `${secrets.damage.title} ${secrets.damage.message}` },
    }),
  };
  if (engine) {
    const { state, bundles, unloadable, error } = engine.status();
    const reasons = new Map(unloadable.map(({ digest, reason }) => [digest, reason]));
    const all = models.list();
    const usable = all.filter(({ digest }) => !reasons.has(digest));
    const loaded = usable.length > 0 && usable.every(({ digest }) => bundles.includes(digest));
    const left = all.flatMap(({ manifest, digest }) =>
      reasons.has(digest) ? [`${manifest.id}: ${reasons.get(digest)}`] : [],
    );
    const waiting = usable.length === 0 ? 'no bundle loads' : loaded ? 'jobs are not taken yet' : 'loading';
    parts['engine'] = {
      ready: state === 'ready' && loaded && working,
      detail: [
        error ?? (state === 'ready' && !(loaded && working) ? waiting : state),
        ...(left.length > 0 ? [`(${left.length} of ${all.length} bundles do not load)`, ...left] : []),
      ].join(' '),
    };
  }
  return {
    ready: Object.values(parts).every(({ ready }) => ready),
    parts,
    ...(engine && { device: engine.device }),
  };
}
