import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sha256 } from '../base/digest.ts';
import { DEFAULT_TENANT, type TenantId } from '../base/ids.ts';
import { hasCode } from './file-system-errors.ts';
import { listIfThere } from './local-files.ts';
import { RECORD_FILE } from './record.ts';

/** Entries to expire lie in a directory a day, so that looking for the next ones does not read all there are. */
export const DAY_MS = 24 * 60 * 60 * 1000;
/** Digits of a time in milliseconds as the expiry index writes it, so that names sort by time. */
const TIME_DIGITS = 15;

/**
 * Where a local store keeps what:
 *
 *     adapters/<tenant>/<id>/                      the adapter: its files and adapter.json, the record
 *     names/<tenant>/<name>/<number>/name.json     a state of a name; the highest number holds
 *     .drafts/<owner>-<random>/                    being written or being removed; never read
 *     .content/<tenant>/<content key>/<id>         empty: finds adapters of equal content
 *     .expiry/<day>/<milliseconds>.<tenant>.<id>   empty: finds adapters to remove
 *
 * The two indexes are hints: every hit is checked against the record, and an entry that leads nowhere is dropped.
 */
export type LocalLayout = {
  readonly adapters: string;
  readonly drafts: string;
  readonly content: string;
  readonly expiry: string;
  readonly names: string;
  tenant(tenant: string): string;
  adapter(name: TenantId): string;
  /** Directory of the ids whose adapters have this content key. */
  equals(tenant: string, contentKey: Sha256): string;
  /** Directory of what expires on a day, counted from the epoch. */
  expiryDay(day: number): string;
  expiryEntry(name: TenantId, expiresAt: number): { readonly directory: string; readonly path: string };
  /** What the file name of an expiry entry says; `at` is not a number for a file that is none. */
  readExpiryEntry(fileName: string): { readonly at: number; readonly name: TenantId };
};

/** The layout below a directory. */
export function localLayout(root: string): LocalLayout {
  const adapters = join(root, 'adapters');
  const content = join(root, '.content');
  const expiry = join(root, '.expiry');
  const expiryDay = (day: number) => join(expiry, String(day));
  return {
    adapters,
    drafts: join(root, '.drafts'),
    content,
    expiry,
    names: join(root, 'names'),
    tenant: (tenant) => join(adapters, tenant),
    adapter: ({ tenant, id }) => join(adapters, tenant, id),
    equals: (tenant, contentKey) => join(content, tenant, contentKey),
    expiryDay,
    expiryEntry({ tenant, id }, expiresAt) {
      const directory = expiryDay(Math.floor(expiresAt / DAY_MS));
      const time = String(Math.ceil(expiresAt)).padStart(TIME_DIGITS, '0');
      return { directory, path: join(directory, `${time}.${tenant}.${id}`) };
    },
    readExpiryEntry(fileName) {
      const [time = '', tenant = '', id = ''] = fileName.split('.');
      return { at: Number(time), name: { tenant, id } };
    },
  };
}

/** What an adapter of version 1 is called while the directory of the default tenant takes its place. */
const ASIDE = `${DEFAULT_TENANT}~1`;

/**
 * Moves what lies as before there were tenants (`adapters/<id>`, `.content/<key>`, `.expiry/<time>.<id>`) to the default
 * tenant. Every step is one rename, so a crash leaves what the next call goes on with. It is called again and again, since
 * a process of the version before may still be publishing.
 */
export async function moveVersion1(layout: LocalLayout): Promise<void> {
  const { adapters, content, expiry } = layout;
  for (const name of await readdir(adapters)) {
    if (name !== ASIDE && !(await exists(join(adapters, name, RECORD_FILE)))) continue;
    const from = join(adapters, ASIDE);
    // Its own name is the one that the tenant's directory needs.
    if (name === DEFAULT_TENANT) await moveIfThere(join(adapters, name), from);
    await mkdir(layout.tenant(DEFAULT_TENANT), { recursive: true });
    const aside = name === DEFAULT_TENANT || name === ASIDE;
    await moveIfThere(
      aside ? from : join(adapters, name),
      layout.adapter({ tenant: DEFAULT_TENANT, id: aside ? DEFAULT_TENANT : name }),
    );
  }
  for (const key of (await readdir(content)).filter((name) => /^[0-9a-f]{64}$/.test(name))) {
    await mkdir(join(content, DEFAULT_TENANT), { recursive: true });
    await moveIfThere(join(content, key), layout.equals(DEFAULT_TENANT, key));
    // What an index of the new form has already is no loss: it is a hint.
    await rm(join(content, key), { recursive: true, force: true });
  }
  for (const entry of (await listIfThere(expiry)).filter((name) => name.includes('.'))) {
    const [time = '', id = ''] = entry.split('.');
    const { directory, path } = layout.expiryEntry({ tenant: DEFAULT_TENANT, id }, Number(time));
    await mkdir(directory, { recursive: true });
    await moveIfThere(join(expiry, entry), path);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A rename that another process may have done, or whose target may be taken. */
async function moveIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error) => {
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
  });
}
