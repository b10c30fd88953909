import { matchesGlob } from 'node:path';
import { modelErrors } from '../errors.ts';
import type { HubFile } from './open-repository.ts';

/** What comes with every pull: what an encoder is described by, and the terms of its use. */
const ABOUT = ['*.json', 'README*', '{LICENSE,LICENCE,NOTICE}*'];
/** The one form of an encoder that the importer takes without being told, with the files its weights may lie in. */
const ENCODER = ['{,onnx/}model.onnx', '{,onnx/}model.onnx?data'];
/** The forms of a checkpoint that the importer reads. */
const CHECKPOINT = ['**/*.safetensors', '**/*.safetensors.index.json', '**/*.pth', '**/*.pt'];

/** Most files of one pull; an encoder has about ten, a sharded checkpoint below a hundred. */
const MAX_FILES = 1000;
/** Most bytes of one pull: more than six times the largest published checkpoint. */
const MAX_PULL_BYTES = 64 * 2 ** 30;

/**
 * The files to take of a repository: those that match one of the patterns, or without patterns an encoder if it has one (the
 * same weights for other frameworks are left out), else its checkpoints. In a pattern `*` stays inside a folder and `**`
 * does not. Errors: `repository-unusable` where nothing is left, or more than the limits.
 */
export function selectFiles(files: readonly HubFile[], include?: readonly string[]): HubFile[] {
  const matching = (patterns: readonly string[]) =>
    files.filter(({ path }) => patterns.some((pattern) => matchesGlob(path, pattern)));
  const patterns = include ?? [...ABOUT, ...(matching(ENCODER).length > 0 ? ENCODER : CHECKPOINT)];
  const selected = matching(patterns);
  if (selected.length === 0) throw modelErrors.repository('No file of it is wanted by these patterns.');
  if (selected.length > MAX_FILES) {
    throw modelErrors.repository(
      `${selected.length} files would be taken; ${MAX_FILES} are the limit. Choose with --include.`,
    );
  }
  const bytes = selected.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MAX_PULL_BYTES) {
    throw modelErrors.repository(
      `${bytes} bytes would be taken; ${MAX_PULL_BYTES} are the limit. Choose with --include.`,
    );
  }
  return selected;
}
