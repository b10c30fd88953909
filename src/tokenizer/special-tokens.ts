/** What a `post_processor` puts around every text. */
import { count, type Fields, list, object, refuse, shown, text, typeOf } from './fields.ts';

/** Ids before and after the text's own. */
export type SpecialTokens = { readonly before: readonly number[]; readonly after: readonly number[] };

const NONE: SpecialTokens = { before: [], after: [] };
const MAX_DEPTH = 8;

/** The special tokens around a single text. Errors: `tokenizer-invalid` where they do not simply stand before and after it. */
export function specialTokensOf(value: unknown, depth = 0): SpecialTokens {
  if (value === null || value === undefined) return NONE;
  const fields = object(value, 'post-processor');
  const type = typeOf(fields, 'post-processor');
  switch (type) {
    case 'ByteLevel':
      return NONE;
    case 'BertProcessing':
    case 'RobertaProcessing':
      return { before: [pairId(fields['cls'])], after: [pairId(fields['sep'])] };
    case 'TemplateProcessing':
      return templateTokens(fields);
    case 'Sequence': {
      if (depth >= MAX_DEPTH) throw refuse('its post-processors nest too deep');
      return list(fields['processors'], 'list of post-processors')
        .map((processor) => specialTokensOf(processor, depth + 1))
        .reduce(
          ({ before, after }, outer) => ({
            before: [...outer.before, ...before],
            after: [...after, ...outer.after],
          }),
          NONE,
        );
    }
    default:
      throw refuse(`its post-processor ${shown(type)} is not known here`);
  }
}

/** The id in a pair of a token and its id. */
function pairId(value: unknown): number {
  return count(list(value, 'special token')[1], 'id of a special token');
}

function templateTokens(fields: Fields): SpecialTokens {
  const known = object(fields['special_tokens'], 'special tokens of the template');
  const before: number[] = [];
  const after: number[] = [];
  let texts = 0;
  for (const item of list(fields['single'], 'template')) {
    const piece = object(item, 'part of the template');
    if (piece['SpecialToken'] === undefined) {
      texts++;
      continue;
    }
    const name = text(object(piece['SpecialToken'], 'part of the template')['id'], 'special token');
    const token = Object.hasOwn(known, name) ? object(known[name], 'special token') : undefined;
    if (!token) throw refuse(`its template has the special token ${shown(name)} that it does not describe`);
    const ids = list(token['ids'], 'ids of a special token').map((id) => count(id, 'id of a special token'));
    (texts > 0 ? after : before).push(...ids);
  }
  if (texts !== 1) throw refuse('its special tokens do not simply stand before and after the text');
  return { before, after };
}
