import { FORM_TYPE, PROMPT_TYPES } from './prompt-types.ts';

/** Types of bodies with prompts, which most bodies are. */
export const PROMPT_BODY_TYPES: readonly string[] = [
  'application/json',
  ...Object.keys(PROMPT_TYPES),
  FORM_TYPE,
];

/** `a, b or c`. */
export function listed(types: readonly string[]): string {
  return types.length < 2 ? types.join() : `${types.slice(0, -1).join(', ')} or ${types.at(-1)}`;
}

/** What is said of a body whose type is none of `types`. `curl -d` sends the type of HTML forms, which is the first thing that people meet. */
export function wrongType(
  contentType: string | undefined,
  types: readonly string[] = PROMPT_BODY_TYPES,
): string {
  const [type = ''] = (contentType ?? '').split(';', 1);
  const name = /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(type.trim()) ? ` ${type.trim()}` : '';
  const isCurl = name === ' application/x-www-form-urlencoded' && types.includes('application/json');
  const hint = isCurl ? " With curl: -H 'content-type: application/json'." : '';
  return `The Content-Type${name} is not taken; send ${listed(types)}.${hint}`;
}
