/** Which questions are answered now: a few at a time, and fewer of one tenant, so that others find a place. */
import { chatErrors } from './errors.ts';

/** How many questions are answered at a time. */
export type PlaceBounds = {
  readonly concurrency: number;
  /** Of one tenant; asked anew each time, since keys may come while the service runs. */
  readonly tenantConcurrency: () => number;
};

/** The places. */
export type Places = {
  /** Takes a place, and returns what gives it back. Errors: `chat-busy`, `chat-tenant-busy`. */
  take(tenant: string): () => void;
  readonly taken: number;
};

/** `Retry-After` of refusals: most answers of a small base take a few seconds. */
const RETRY_AFTER_SECONDS = 3;

const questions = (count: number) => `${count} ${count === 1 ? 'question' : 'questions'}`;

/** A refusal for now. */
export const chatBusy = (detail: string) =>
  chatErrors.busy(detail, { retryAfterSeconds: RETRY_AFTER_SECONDS });

/** Opens the places, all of them free. */
export function openPlaces({ concurrency, tenantConcurrency }: PlaceBounds): Places {
  const ofTenants = new Map<string, number>();
  let taken = 0;
  return {
    take(tenant) {
      const own = ofTenants.get(tenant) ?? 0;
      const bound = tenantConcurrency();
      if (taken >= concurrency) throw chatBusy(`The service answers ${questions(concurrency)} at a time.`);
      if (own >= bound) {
        throw chatErrors.tenantBusy(
          `The service answers ${questions(bound)} of a tenant at a time (CHAT_TENANT_CONCURRENCY).`,
          { retryAfterSeconds: RETRY_AFTER_SECONDS },
        );
      }
      taken += 1;
      ofTenants.set(tenant, own + 1);
      return () => {
        taken -= 1;
        const left = ofTenants.get(tenant)! - 1;
        if (left > 0) ofTenants.set(tenant, left);
        else ofTenants.delete(tenant);
      };
    },
    get taken() {
      return taken;
    },
  };
}
