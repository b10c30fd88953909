import { readdir } from 'node:fs/promises';
import { modelErrors } from '../../errors.ts';

/** Most names that a message lists. */
const MAX_LISTED = 8;
/** How files with weights end. */
const WEIGHTS = /\.(?:safetensors|pth|pt|ckpt|bin|index\.json)$/;

/**
 * Refuses a directory in place of a checkpoint and says what it holds: one that several processes wrote together has to be
 * gathered, of others a file is to be named. Errors: `checkpoint-invalid`.
 */
export async function refuseDirectory(path: string): Promise<never> {
  const names = (await readdir(path)).sort();
  if (names.some((file) => file.endsWith('.distcp'))) {
    throw modelErrors.checkpoint(
      `It is a checkpoint sharded by FSDP (torch.distributed.checkpoint). Gather it first: ` +
        'python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY FILE.pth.',
    );
  }
  if (names.includes('zero_to_fp32.py') || names.some((file) => file.startsWith('zero_pp_rank_'))) {
    throw modelErrors.checkpoint(
      `It is a checkpoint sharded by DeepSpeed. Gather it first with its own zero_to_fp32.py.`,
    );
  }
  const weights = names.filter((file) => WEIGHTS.test(file));
  const listed = weights.slice(0, MAX_LISTED).join(', ');
  throw modelErrors.checkpoint(
    `It is a directory; name a file.${weights.length > 0 ? ` It holds ${listed}${weights.length > MAX_LISTED ? ' …' : ''}.` : ''}`,
  );
}
