/** The handler of `validate` jobs: whether a fine-tuning job's adapter makes its base better at the rows of a file. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ADAPTER_GGUF_FILE, openGguf, STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import { LoradropError, toLoradropError } from '../base/errors.ts';
import { figures, pairedDifference, verdictOf } from '../evaluation/statistics.ts';
import type { ValidationRequest, ValidationScores } from '../evaluation/validation-protocol.ts';
import { targetOfAdapter } from '../models/gguf-target.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { AdapterStore, StoredAdapter } from '../store/store.ts';
import { UPLOADED_FILE } from '../store/uploads.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { openStoredPeft } from './stored-peft.ts';
import type { ValidationResult } from './validations.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What validating works with. */
export type ValidateServices = {
  readonly store: Pick<AdapterStore, 'of'>;
  /** Files that clients have uploaded. */
  readonly files: Pick<AdapterStore, 'of'>;
  readonly models: Pick<ModelRegistry, 'list'>;
  /** The GGUF bases of this worker. */
  readonly bases: () => Promise<readonly { readonly id: string; readonly path: string }[]>;
  /** Scores rows in a process of its own. */
  readonly validate: (
    request: Omit<ValidationRequest, 'threads'>,
    options: { signal: AbortSignal; timeoutMs: number },
  ) => Promise<ValidationScores>;
  readonly metrics: Pick<Metrics, 'validationEnded'>;
  readonly logger: Logger;
  readonly now?: () => number;
};

/** Rows that are scored, of a larger file drawn with the job's seed: a small base takes a second or two a row on two cores. */
const MAX_ROWS = 100;
/** Tokens of a row with its answer; the time a row takes grows with them. */
const MAX_ROW_TOKENS = 2048;
/** Whoever waits for the job waits for this, too. */
const TIMEOUT_MS = 600_000;
/** Verdicts as metrics name them. */
const OUTCOMES = { helps: 'helps', harms: 'harms', 'no difference seen': 'no-difference' } as const;

/** Makes the handler. What cannot be measured is a result that says why; only failures that may pass are thrown. */
export function createValidateHandler(services: ValidateServices): JobHandler<'validate'> {
  const { store, files, models, bases, validate, metrics, logger, now = Date.now } = services;

  async function measure(context: JobContext<'validate'>, base: string): Promise<ValidationScores> {
    const { tenant, payload, signal } = context;
    const directory = await mkdtemp(join(tmpdir(), 'loradrop-validate-'));
    try {
      const [adapter, rows] = [join(directory, ADAPTER_GGUF_FILE), join(directory, 'rows.jsonl')];
      const stored = await store.of(tenant).find(payload.adapterId);
      if (!stored) throw new Missing('adapter-deleted', 'The adapter was deleted before it was validated.');
      await save(await openAdapter(tenant, stored, signal), adapter, signal);
      const uploads = files.of(tenant);
      if (!(await uploads.find(payload.file)))
        throw new Missing('file-deleted', 'The validation file was deleted before it was used.');
      await save(await uploads.read(payload.file, UPLOADED_FILE, { signal }), rows, signal);
      const request = {
        base,
        adapter,
        rows,
        limit: MAX_ROWS,
        maxRowTokens: MAX_ROW_TOKENS,
        seed: payload.seed,
      };
      return await validate(request, { signal, timeoutMs: TIMEOUT_MS });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async function openAdapter(tenant: string, adapter: StoredAdapter, signal: AbortSignal) {
    const own = store.of(tenant);
    if (adapter.files.some(({ name }) => name === ADAPTER_GGUF_FILE)) {
      return own.read(adapter.id, ADAPTER_GGUF_FILE, { signal });
    }
    const target = targetOfAdapter(adapter.info as AdapterInfo, models);
    const gguf = await openGguf(await openStoredPeft(own, adapter, { signal }), {
      dtype: STORED_GGUF_DTYPE,
      target,
    });
    return gguf.read({ signal });
  }

  return async (context) => {
    const { payload, tenant, signal } = context;
    const log = logger.child({ tenant, jobId: payload.jobId });
    const skipped = (code: string, reason: string): ValidationResult => {
      metrics.validationEnded({ outcome: 'skipped', code });
      return { outcome: 'skipped', reason, endedAt: now() };
    };
    const startedAt = now();
    try {
      const base = (await bases()).find(({ id }) => id === payload.base);
      if (!base)
        throw new Missing('base-absent', `There is no GGUF file of ${payload.base} here to score rows with.`);
      const scores = await measure(context, base.path);
      const difference = pairedDifference(scores.base, scores.adapter, payload.seed);
      const verdict = verdictOf(difference);
      log.info({ rows: scores.base.length, verdict }, 'adapter validated');
      metrics.validationEnded({ outcome: OUTCOMES[verdict], ms: now() - startedAt });
      return {
        outcome: 'measured',
        rows: scores.base.length,
        labelled: scores.labelled,
        base: figures(scores.base, payload.seed),
        adapter: figures(scores.adapter, payload.seed),
        difference,
        verdict,
        endedAt: now(),
      };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Missing) return skipped(error.code, error.message);
      if (!(error instanceof LoradropError) || error.retryable) {
        metrics.validationEnded({ outcome: 'failed', code: toLoradropError(error).code });
        throw error;
      }
      log.warn({ err: error, code: error.code }, 'adapter not validated');
      return skipped(error.code, `${error.title} ${error.message}`);
    }
  };
}

/** What a validation needs is not there. */
class Missing extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function save(content: AsyncIterable<Uint8Array>, path: string, signal: AbortSignal): Promise<void> {
  return pipeline(Readable.from(content, { objectMode: false }), createWriteStream(path), { signal });
}
