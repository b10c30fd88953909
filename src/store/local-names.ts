/** States of names in a directory. */
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DraftOwner, draftName } from './draft-owner.ts';
import { onFileSystem } from './file-system-errors.ts';
import { listIfThere, move, readIfThere, sync, writeFile } from './local-files.ts';
import type { LocalLayout } from './local-layout.ts';
import type { NameLog } from './names.ts';

/** A state lies in a directory of its own, since renaming one fails where another has the name, and a file's rename does not. */
const STATE_FILE = 'name.json';
/** Digits of a number, so that listings are in order for people. */
const NUMBER_DIGITS = 10;

/** The log of a tenant's names below a local store's root. */
export function createLocalNameLog(layout: LocalLayout, owner: DraftOwner, tenant: string): NameLog {
  const all = join(layout.names, tenant);
  const place = (name: string, number: number) =>
    join(all, name, String(number).padStart(NUMBER_DIGITS, '0'));
  return {
    names: () => onFileSystem(() => listIfThere(all)),
    async numbers(name) {
      const entries = await onFileSystem(() => listIfThere(join(all, name)));
      return entries.filter((entry) => /^[0-9]+$/.test(entry)).map(Number);
    },
    read: (name, number) => onFileSystem(() => readIfThere(join(place(name, number), STATE_FILE))),
    async create(name, number, bytes) {
      const draft = join(layout.drafts, draftName(owner));
      try {
        await onFileSystem(() => mkdir(draft));
        await writeFile(join(draft, STATE_FILE), STATE_FILE, [bytes]);
        return await onFileSystem(async () => {
          await sync(draft);
          await mkdir(join(all, name), { recursive: true });
          if (!(await move(draft, place(name, number)))) return false;
          for (const directory of [join(all, name), all, layout.names]) await sync(directory);
          return true;
        });
      } finally {
        await rm(draft, { recursive: true, force: true }).catch(() => undefined);
      }
    },
    async remove(name, number) {
      await onFileSystem(async () => {
        await rm(place(name, number), { recursive: true, force: true });
        // Fails while it has other states, as it should.
        await rmdir(join(all, name)).catch(() => undefined);
      });
    },
  };
}
