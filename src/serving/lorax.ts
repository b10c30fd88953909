/**
 * LoRAX, from its sources (predibase/lorax 0.12, `server/lorax_server/utils/sources/__init__.py`): a request names the adapter
 * with `adapter_id` and `adapter_source` (`hub`, `local` or `s3`), and the server loads it then. There is no call to make, and it
 * lists nothing; its probe would be a request like any other. It was not run for this.
 */
import type { ModelServer } from './model-server.ts';

const NOTHING_TO_ASK =
  'LoRAX loads an adapter with the first request that names it; there is nothing to check before.';

/** See the file's comment. */
export const lorax: ModelServer = {
  loads: false,
  list: async () => undefined,
  load: async () => undefined,
  unload: async () => undefined,
  probe: async () => ({ applied: 'unknown', reason: NOTHING_TO_ASK }),
  usage: ({ path }) => ({ adapter_id: path, adapter_source: sourceOf(path) }),
};

function sourceOf(path: string): 'hub' | 'local' | 's3' {
  if (path.startsWith('s3://')) return 's3';
  return path.startsWith('/') ? 'local' : 'hub';
}
