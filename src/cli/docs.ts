/** `loradrop docs`: writes the files that are made from the code. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderEnvExample, renderSettingsTable } from '../config/docs.ts';
import { renderOpenapi } from '../http/openapi.ts';
import { renderProblemTable } from '../http/problem-table.ts';
import { renderMonitoringManifests } from './monitoring-manifests.ts';
import type { Registration } from './registration.ts';
import { renderThirdPartyNotices } from './third-party-notices.ts';

/** A page with the text between its marks `<!-- name:start -->` and `<!-- name:end -->` replaced. */
async function renderInto(root: string, page: string, name: string, text: string): Promise<[string, string]> {
  const marked = new RegExp(`(<!-- ${name}:start -->\\n)[\\s\\S]*?(<!-- ${name}:end -->)`);
  const before = await readFile(join(root, page), 'utf8');
  return [page, before.replace(marked, (_all, start: string, end: string) => `${start}${text}\n${end}`)];
}

/** The generated files below a repository root, path → text. A test compares them with what is committed. */
export async function renderDocs(root: string): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['openapi/openapi.json', await renderOpenapi()],
    ['.env.example', renderEnvExample()],
    ['THIRD_PARTY_NOTICES.md', await renderThirdPartyNotices(root)],
    ...(await renderMonitoringManifests(root)),
    await renderInto(root, 'docs/settings.md', 'settings', renderSettingsTable()),
    await renderInto(root, 'docs/troubleshooting.md', 'problems', renderProblemTable()),
  ]);
}

export const registerDocs: Registration = (command, output) => {
  command.action(async () => {
    const root = join(import.meta.dirname, '..', '..');
    for (const [path, text] of await renderDocs(root)) {
      await writeFile(join(root, path), text);
      output.line(path);
    }
  });
};
