import { type Authenticate, createAuthenticate } from './authenticate.ts';
import type { Limits } from './caller.ts';
import { accessErrors } from './errors.ts';
import { type KeyRing, openKeyRing } from './key-ring.ts';

/** Options of {@link openAccess}. */
export type OpenAccessOptions = {
  /** `auto`: keys, where there are any. `off`: everybody may do everything, whatever keys there are. */
  readonly mode: 'auto' | 'off';
  readonly keysFile: string;
  /** The file was named by a setting, so it has to be there. */
  readonly fileNamed: boolean;
  /** Only this machine can reach the service, so it may run without keys. */
  readonly loopback: boolean;
  readonly limits: Limits;
  readonly onChange?: (keys: KeyRing) => void;
};

/** Who may come in, for as long as the process runs. */
export type Access = {
  readonly authenticate: Authenticate;
  /** Absent where keys are off on purpose. */
  readonly keys: KeyRing | undefined;
  close(): Promise<void>;
};

/**
 * Opens the door as far as the settings say. Errors: `keys-file-invalid`; `access-undecided` where there is no key and
 * the service would be open to other machines.
 */
export async function openAccess(options: OpenAccessOptions): Promise<Access> {
  const { mode, keysFile, fileNamed, loopback, limits, onChange } = options;
  if (mode === 'off') {
    return { authenticate: createAuthenticate({ limits }), keys: undefined, close: async () => {} };
  }
  const keys = await openKeyRing({ path: keysFile, required: fileNamed, ...(onChange && { onChange }) });
  if (!keys.guarded && !loopback) {
    await keys.close();
    throw accessErrors.undecided(
      'There is no API key, and HOST is an address that other machines can reach. Make a key with `loradrop keys create`, or set HOST=127.0.0.1, or say AUTH=off to let everybody in.',
    );
  }
  return { authenticate: createAuthenticate({ keys, limits }), keys, close: () => keys.close() };
}
