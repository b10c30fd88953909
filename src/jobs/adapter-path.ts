/** Where model servers find an adapter. */
import { ADAPTER_GGUF_FILE } from '../adapter/convert-gguf.ts';
import { repositoryOfVersion } from '../base/repository-name.ts';
import type { Target } from '../serving/targets.ts';
import type { DeployPayload } from './catalog.ts';

/**
 * A repository of the Hub view, a directory below the one where the servers see the store's `adapters`, or the store's own
 * s3:// address. `location` is what the store says.
 */
export function adapterPath(
  { kind, reach }: Target,
  tenant: string,
  { adapterId: id, commit }: Pick<DeployPayload, 'adapterId' | 'commit'>,
  location: string,
): string {
  if (reach === 'hub') return `${tenant}/${repositoryOfVersion(id, commit)}`;
  if (reach === 's3') return location;
  const directory = `${reach.directory.replace(/\/$/, '')}/${tenant}/${id}`;
  return kind === 'llama-server' ? `${directory}/${ADAPTER_GGUF_FILE}` : directory;
}
