/** `loradrop docs`: writes the files that are made from the code. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderEnvExample, renderSettingsTable } from '../config/docs.ts';
import { renderOpenapi } from '../http/openapi.ts';
import { renderMonitoringManifests } from './monitoring-manifests.ts';
import type { Registration } from './registration.ts';
import { renderThirdPartyNotices } from './third-party-notices.ts';

const TABLE = /(<!-- settings:start -->\n)[\s\S]*?(<!-- settings:end -->)/;

/** The generated files below a repository root, path → text. A test compares them with what is committed. */
export async function renderDocs(root: string): Promise<ReadonlyMap<string, string>> {
  const settings = await readFile(join(root, 'docs/settings.md'), 'utf8');
  return new Map([
    ['openapi/openapi.json', await renderOpenapi()],
    ['.env.example', renderEnvExample()],
    ['THIRD_PARTY_NOTICES.md', await renderThirdPartyNotices(root)],
    ...(await renderMonitoringManifests(root)),
    [
      'docs/settings.md',
      settings.replace(
        TABLE,
        (_all, start: string, end: string) => `${start}${renderSettingsTable()}\n${end}`,
      ),
    ],
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
