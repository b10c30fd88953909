/** What an adapter’s repository is called in the Hub view. */

/**
 * What an adapter's repository is called: its id, with `.` for the `--` before the number of an adapter of several, since
 * Hub clients take no `--`.
 */
export function repositoryOfId(id: string): string {
  return id.replace(/--([0-9]+)$/, '.$1');
}

/** The id of the adapter whose repository is called so. */
export function idOfRepository(name: string): string {
  return name.replace(/\.([0-9]+)$/, '--$1');
}

/** Digits of the commit in the name of a version. */
const VERSION_DIGITS = 12;

/**
 * A repository that is one adapter with these very bytes: `id.c` and the first digits of its commit. No name has a dot, so unlike an
 * id's this repository is never another adapter's. For clients that take no revision.
 */
export function repositoryOfVersion(id: string, commit: string): string {
  return `${repositoryOfId(id)}.c${commit.slice(0, VERSION_DIGITS)}`;
}

/** Takes the name of a version apart; `digits` is undefined where it is another repository's. */
export function readVersion(name: string): { readonly repository: string; readonly digits?: string } {
  const parts = /^(.+)\.c([0-9a-f]{12})$/.exec(name);
  return parts ? { repository: parts[1]!, digits: parts[2]! } : { repository: name };
}
