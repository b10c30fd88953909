/** `hf://owner/name@revision`: which repository, at which point of its history. */
import { modelErrors } from '../errors.ts';

/** A repository of models or data sets on a Hub, and the revision that is wanted of it. */
export type HubAddress = {
  readonly kind: 'model' | 'dataset';
  /** `owner/name`. */
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
};

/** What revision is meant where an address names none. */
const DEFAULT_REVISION = 'main';
/** The Hub's own rules for names, and for git's references without what git forbids in them. */
const ADDRESS =
  /^hf:\/\/(?<dataset>datasets\/)?(?<repository>[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@(?<revision>\w[\w./-]{0,254}))?$/;

/**
 * Reads `hf://owner/name`, `hf://datasets/owner/name`, each with or without `@revision`.
 * Errors: `repository-unusable` for anything else.
 */
export function parseHubAddress(text: string): HubAddress {
  const { dataset, repository, revision = DEFAULT_REVISION } = ADDRESS.exec(text)?.groups ?? {};
  if (!repository || text.includes('..')) {
    throw modelErrors.repository(
      'Its address is hf://owner/name or hf://datasets/owner/name, with @revision where another than main is wanted.',
    );
  }
  return { kind: dataset ? 'dataset' : 'model', repository, revision };
}
