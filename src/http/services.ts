/** What the HTTP edge is a function of. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { Authenticate } from '../access/authenticate.ts';
import type { Scope } from '../access/caller.ts';
import type { TenantId } from '../base/ids.ts';
import type { Chat } from '../chat/chat.ts';
import type { Webhook } from '../jobs/catalog.ts';
import type { Copies } from '../jobs/copies.ts';
import type { Deliveries } from '../jobs/deliveries.ts';
import type { Deployments } from '../jobs/deployments.ts';
import type { TenantGenerateQueue } from '../jobs/generate-queue.ts';
import type { Notifier } from '../jobs/notify.ts';
import type { Validations } from '../jobs/validations.ts';
import type { Bundle } from '../models/bundle.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Tracing } from '../observability/tracing.ts';
import type { PromptLimits } from '../prompts/check-prompts.ts';
import type { RequestRates } from '../queue/request-rates.ts';
import type { Target } from '../serving/targets.ts';
import type { Destinations } from '../store/destinations.ts';
import type { TenantStore } from '../store/store.ts';
import type { AddressGuard } from '../webhooks/address-guard.ts';
import type { SecretRing } from '../webhooks/secret-ring.ts';
import type { AdapterLinks } from './adapter-links.ts';
import type { FrontDoor } from './front-door.ts';

/** Bounds on requests; each has a problem code of its own. */
export type HttpLimits = PromptLimits & {
  /** Bytes of a request body, and of all files of a form together. */
  readonly maxBodyBytes: number;
  /** Adapters from one request. */
  readonly maxCount: number;
  /** Longest a request is held open for its result. */
  readonly maxWaitSeconds: number;
  readonly maxDeadlineSeconds: number;
  readonly defaultRetentionSeconds: number;
  readonly maxRetentionSeconds: number;
};

/** One thing the service cannot do without. */
export type ReadinessPart = { readonly ready: boolean /** Safe to show. */; readonly detail?: string };

/** Whether requests should be sent here, and if not, for want of what. */
export type Readiness = {
  readonly ready: boolean;
  /** `queue`, `store`, `models`, `engine` … where the process has them. */
  readonly parts: Readonly<Record<string, ReadinessPart>>;
  /** Where inference runs; absent in a process without a worker. */
  readonly device?: { readonly name: string; readonly provider: string; readonly threads: number };
};

/** What the probe addresses need: all that a worker without an API serves. */
export type ProbeServices = {
  /** Never rejects: what does not answer is a part that is not ready. */
  readonly readiness: () => Promise<Readiness>;
  readonly metrics: Pick<Metrics, 'contentType' | 'render' | 'observeRequest'>;
  /** Where requests are traced; absent where they are not. */
  readonly tracing?: Tracing | undefined;
  /** Scope that `/metrics` needs; `public` by default. */
  readonly metricsAccess?: Scope | 'public';
  /** Who sends a request, and how often it may; absent where nothing needs a key. */
  readonly authenticate?: Authenticate;
  readonly rates?: RequestRates;
  readonly logger: Logger;
  /** Hosts, proxies and connections that are let in. Default: this machine alone, with the limits of the settings' defaults. */
  readonly frontDoor?: FrontDoor;
  /** Aborted when the process begins to stop: `/readyz` says 503 and new jobs are refused, all else goes on. */
  readonly draining?: AbortSignal;
};

/** Everything the API needs. */
export type HttpServices = ProbeServices & {
  readonly authenticate: Authenticate;
  readonly rates: RequestRates;
  readonly queue: { of(tenant: string): TenantGenerateQueue };
  readonly models: ModelRegistry;
  readonly store: {
    of(
      tenant: string,
    ): Pick<TenantStore, 'find' | 'newest' | 'read' | 'remove' | 'location' | 'usage' | 'names'>;
  };
  readonly metrics: Pick<Metrics, 'contentType' | 'render' | 'observeRequest' | 'accepted'>;
  /** Files that clients upload, in a store of their own. */
  readonly files: {
    of(tenant: string): Pick<TenantStore, 'draft' | 'find' | 'read' | 'remove' | 'usage'>;
    list(options: { tenant: string }): AsyncIterable<TenantId>;
  };
  /** Bytes of an uploaded file. */
  readonly maxFileBytes: number;
  readonly validations: Pick<Validations, 'find'>;
  /** What fine-tuning requests may call models besides their own names. */
  readonly modelAliases?: ReadonlyMap<string, string>;
  readonly links: AdapterLinks;
  readonly webhooks: {
    readonly guard: Pick<AddressGuard, 'check'>;
    readonly secrets: Pick<SecretRing, 'of'>;
    /** The operator's own receivers, who hear of every job. */
    readonly operator: readonly Webhook[];
    readonly deliveries: Pick<Deliveries, 'list' | 'replay'>;
    readonly notifier: Pick<Notifier, 'hint'>;
  };
  readonly destinations: Pick<Destinations, 'check'>;
  readonly copies: Pick<Copies, 'find'>;
  /** Groups of model servers that adapters may be handed over to. */
  readonly targets: readonly Target[];
  readonly deployments: Pick<Deployments, 'add' | 'find' | 'list' | 'ofJob' | 'takeBack' | 'takeBackAdapter'>;
  /** Base models that can be asked; absent where none may be. */
  readonly chat?: Pick<Chat, 'bases' | 'ask'>;
  /**
   * How many tokens texts have for a model's encoder, and how many of them it keeps; undefined where this process has no
   * tokenizer of the model.
   */
  readonly countTokens?: (
    bundle: Bundle,
    texts: readonly string[],
  ) => Promise<readonly { readonly tokens: number; readonly kept: number }[] | undefined>;
  readonly limits: HttpLimits;
  /** Rejects with `store-full` or `store-unavailable` while adapters cannot be stored: new jobs are refused then. */
  readonly storeReady?: () => Promise<void>;
  /** Bundles that the engine of this process does not load or run, with reasons that are safe to show. Absent without one. */
  readonly unloadable?: () => readonly { readonly digest: string; readonly reason: string }[];
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  readonly random?: (bytes: number) => Uint8Array;
  /** Pause after which an event stream without news sends a comment, so that proxies keep it open. */
  readonly heartbeatMs?: number;
};

/** The application with schema types. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;
