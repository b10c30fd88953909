/** What `FINE_TUNING_ALIASES` says. */
import { configErrors } from './errors.ts';

/** Longest name of a model that a request may have. */
const MAX_CHARS = 300;

/** The aliases by name. Errors: `settings-invalid` naming the entry that is not `NAME=MODEL`, or the name that is there twice. */
export function parseModelAliases(text: string | undefined): ReadonlyMap<string, string> {
  const aliases = new Map<string, string>();
  for (const entry of (text ?? '').split(',').map((each) => each.trim())) {
    if (entry === '') continue;
    const place = entry.indexOf('=');
    const [name, model] = [entry.slice(0, place).trim(), entry.slice(place + 1).trim()];
    if (place < 1 || model === '' || name.length > MAX_CHARS) {
      throw configErrors.invalid(`FINE_TUNING_ALIASES has "${entry}", which is not NAME=MODEL.`);
    }
    if (aliases.has(name)) throw configErrors.invalid(`FINE_TUNING_ALIASES has "${name}" twice.`);
    aliases.set(name, model);
  }
  return aliases;
}
