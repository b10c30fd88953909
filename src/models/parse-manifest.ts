import { Compile } from 'typebox/compile';
import { type FieldError, LoradropError } from '../base/errors.ts';
import { checkLayout, withCurrentLayerPath } from '../lora/bases.ts';
import type { LoraLayout } from '../lora/layout.ts';
import { modelErrors } from './errors.ts';
import { evaluationErrors } from './evaluation.ts';
import { licenceOfText } from './licence.ts';
import { BundleManifest, MANIFEST_FILE, MANIFEST_VERSION } from './manifest.ts';
import { disagreements } from './manifest-agreement.ts';
import { BundleManifestV1, fromVersion1 } from './manifest-v1.ts';

/** Largest manifest: a real one has about 10 kB, and the most evaluation figures there may be have 150 kB. */
export const MAX_MANIFEST_BYTES = 1 << 20;
/** Most offending fields an error lists; a wholly different document would list hundreds. */
const MAX_FIELD_ERRORS = 20;

const validator = Compile(BundleManifest);
const validator1 = Compile(BundleManifestV1);

/**
 * The manifest in the bytes of a `bundle.json`, checked field by field and for agreement between fields; one of version 1 as
 * version 2 describes the same bundle. The layers are where the base's architecture has them today, whatever an older import
 * wrote.
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
  if (typeof version === 'number' && version !== 1 && version !== MANIFEST_VERSION) {
    throw modelErrors.schema(
      `${MANIFEST_FILE} has schema version ${version}; this release reads version ${MANIFEST_VERSION} and the one before.`,
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
  const manifest = version === 1 ? fromVersion1(checked(validator1, value)) : checked(validator, value);
  const measured = manifest.evaluation ? evaluationErrors(manifest.evaluation) : [];
  const contradictions = [
    ...layoutErrors(manifest.layout),
    ...disagreements(manifest, { listsMatrices: version !== 1 }),
    ...measured.map(({ pointer, message }) => ({ pointer: `/evaluation${pointer}`, message })),
  ];
  if (contradictions.length > 0) throw invalid(contradictions);
  return { ...manifest, layout: withCurrentLayerPath(manifest.base.architecture, manifest.layout) };
}

type Schema<Value> = {
  Check(value: unknown): value is Value;
  Errors(value: unknown): readonly { instancePath: string; message: string }[];
};

function checked<Value>(schema: Schema<Value>, value: unknown): Value {
  if (schema.Check(value)) return value;
  throw invalid(
    schema.Errors(value).map(({ instancePath, message }) => ({ pointer: instancePath, message })),
  );
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
