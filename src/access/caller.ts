/** Who sends a request, and what that may do. */
import { DEFAULT_TENANT } from '../base/ids.ts';

/**
 * What a key may be for: make adapters and cancel or delete them; see jobs, adapters and usage; everything of its tenant;
 * for a model server, read the Hub view of every tenant.
 */
export const SCOPES = ['generate', 'read', 'admin', 'serve'] as const;
/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number];

/** What a caller may take; absent: as much as there is. */
export type Limits = {
  /** Requests a second, on average. */
  readonly requestsPerSecond?: number;
  /** Requests at once; the average holds over `requestBurst / requestsPerSecond` seconds. */
  readonly requestBurst?: number;
  /** Jobs of the tenant that may wait. */
  readonly waitingJobs?: number;
  /** Jobs of the tenant that may run at once; further ones wait. */
  readonly runningJobs?: number;
  /** Adapters of the tenant in the store. */
  readonly adapters?: number;
  /** Bytes of all files of these. */
  readonly storedBytes?: number;
};

/** Who sends a request. */
export type Caller = {
  readonly tenant: string;
  /** Name of the key; absent where none was needed. */
  readonly keyName?: string;
  readonly scopes: readonly Scope[];
  readonly expiresAt?: Date;
  readonly limits: Limits;
};

/** True when the caller may do what the scope stands for; `admin` stands for all. */
export function hasScope({ scopes }: Pick<Caller, 'scopes'>, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes('admin');
}

/** The caller of a service without keys: the default tenant, which may do everything. */
export function anyone(limits: Limits): Caller {
  return { tenant: DEFAULT_TENANT, scopes: ['admin'], limits };
}
