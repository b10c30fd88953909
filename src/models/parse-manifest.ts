import { Compile } from 'typebox/compile';
import { type FieldError, LoradropError } from '../base/errors.ts';
import { checkLayout, findHeadErrors, withCurrentLayerPath } from '../lora/bases.ts';
import type { LoraLayout } from '../lora/layout.ts';
import { tokenCount, tokenShape } from '../lora/tensors.ts';
import { modelErrors } from './errors.ts';
import { evaluationErrors } from './evaluation.ts';
import { licenceOfText } from './licence.ts';
import { BundleManifest, MANIFEST_VERSION } from './manifest.ts';

/** Name of the manifest inside a bundle directory. */
export const MANIFEST_FILE = 'bundle.json';
/** Largest manifest: a real one has about 10 kB, and the most evaluation figures there may be have 150 kB. */
export const MAX_MANIFEST_BYTES = 1 << 20;
/** Most offending fields an error lists; a wholly different document would list hundreds. */
const MAX_FIELD_ERRORS = 20;

/** conv1w, conv1h, conv2h, conv2w and linear2 (spec §2.1). */
const CONVOLUTIONS_PER_LAYER = 5;

const validator = Compile(BundleManifest);

/**
 * The manifest in the bytes of a `bundle.json`, checked field by field and for agreement between fields. The layers are where
 * the base's architecture has them today, whatever an older import wrote.
 * Errors: `bundle-schema-unknown` for another schema version; `bundle-invalid` listing the offending fields.
 */
export function parseManifest(bytes: Uint8Array): BundleManifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw modelErrors.invalid(`${MANIFEST_FILE} is not JSON in UTF-8.`, { cause });
  }
  const version =
    value !== null && typeof value === 'object' && 'schemaVersion' in value && value.schemaVersion;
  if (typeof version === 'number' && version !== MANIFEST_VERSION) {
    throw modelErrors.schema(
      `${MANIFEST_FILE} has schema version ${version}; this release reads version ${MANIFEST_VERSION}.`,
    );
  }
  if (
    value !== null &&
    typeof value === 'object' &&
    'licence' in value &&
    typeof value.licence === 'string'
  ) {
    value.licence = licenceOfText(value.licence);
  }
  if (!validator.Check(value)) {
    throw invalid(
      validator.Errors(value).map(({ instancePath, message }) => ({ pointer: instancePath, message })),
    );
  }
  const measured = value.evaluation ? evaluationErrors(value.evaluation) : [];
  const contradictions = [
    ...layoutErrors(value.layout),
    ...disagreements(value),
    ...measured.map(({ pointer, message }) => ({ pointer: `/evaluation${pointer}`, message })),
  ];
  if (contradictions.length > 0) throw invalid(contradictions);
  return { ...value, layout: withCurrentLayerPath(value.base.architecture, value.layout) };
}

/** The files a manifest gives a role, in a fixed order; external data files of graphs are not among them. */
export function roleFiles({ encoder, decoder, tokenizer, card }: BundleManifest): string[] {
  const stages = decoder.stages.map(({ file }) => file);
  return [encoder.file, decoder.file, ...stages, tokenizer.file, ...(card ? [card.file] : [])];
}

function layoutErrors(layout: LoraLayout): FieldError[] {
  try {
    checkLayout(layout);
    return [];
  } catch (error) {
    if (!(error instanceof LoradropError)) throw error;
    return error.fields.map(({ pointer, message }) => ({ pointer: `/layout${pointer}`, message }));
  }
}

function invalid(fields: readonly FieldError[]) {
  const shown = fields.slice(0, MAX_FIELD_ERRORS);
  const listing = shown.map(({ pointer, message }) => `${pointer || '/'} ${message}`).join('; ');
  const more = fields.length > shown.length ? `; and ${fields.length - shown.length} more` : '';
  return modelErrors.invalid(`${MANIFEST_FILE}: ${listing}${more}.`, { fields: shown });
}

function disagreements(manifest: BundleManifest): FieldError[] {
  const { base, condition, decoder, files, layout } = manifest;
  const found: FieldError[] = base.heads
    ? findHeadErrors(layout.modules, base.heads).map((message) => ({ pointer: '/base/heads', message }))
    : [];
  const expect = (holds: boolean, pointer: string, message: string) => {
    if (!holds) found.push({ pointer, message });
  };
  const [prompts, positions, width] = decoder.features[0]!;
  expect(prompts === condition.prompts, '/decoder/features/0/0', 'must equal /condition/prompts');
  expect(width === condition.width, '/decoder/features/0/2', 'must equal /condition/width');
  expect(
    condition.lengthProjection || positions === condition.tokens,
    '/decoder/features/0/1',
    'must equal /condition/tokens where there is no length projection',
  );
  const tokens = [tokenCount(layout), ...tokenShape(layout)];
  const lastIndex = decoder.features.length - 1;
  expect(
    decoder.features[lastIndex]!.every((length, axis) => length === tokens[axis]),
    `/decoder/features/${lastIndex}`,
    `must equal the layout's weight tokens (${tokens.join(', ')})`,
  );
  expect(decoder.kernel % 2 === 1, '/decoder/kernel', 'must be odd');
  expect(
    decoder.stages.length === lastIndex,
    '/decoder/stages',
    `must have ${lastIndex} entries, one a layer`,
  );
  expect(
    decoder.plan.length === CONVOLUTIONS_PER_LAYER * lastIndex,
    '/decoder/plan',
    `must have ${CONVOLUTIONS_PER_LAYER * lastIndex} entries, ${CONVOLUTIONS_PER_LAYER} a layer`,
  );
  expect(
    condition.tokens <= condition.encoderTokens || condition.tokens % condition.encoderTokens === 0,
    '/condition/tokens',
    'must be a multiple of /condition/encoderTokens where it is larger',
  );
  const names = files.map(({ name }) => name);
  expect(new Set(names).size === names.length, '/files', 'must not list a file twice');
  expect(!names.includes(MANIFEST_FILE), '/files', `must not list ${MANIFEST_FILE}`);
  const roles = roleFiles(manifest);
  expect(new Set(roles).size === roles.length, '/files', 'must not give one file two roles');
  for (const role of roles) expect(names.includes(role), '/files', `must list ${role}`);
  return found;
}
