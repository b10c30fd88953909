/** A base model described in a file, so that a new base is data and not code. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import {
  findHeadErrors,
  layoutForBase,
  plainLayoutForBase,
  TARGET_MODULES,
  withCurrentLayerPath,
} from '../../lora/bases.ts';
import { loraErrors } from '../../lora/errors.ts';
import { AttentionHeads, LoraLayout } from '../../lora/layout.ts';
import { modelErrors } from '../errors.ts';
import { BundleManifest } from '../manifest.ts';
import type { BaseLayout } from './import-options.ts';

const closed = { additionalProperties: false } as const;
const Width = Type.Integer({ minimum: 1, maximum: 1_048_576 });
const { id, architecture } = BundleManifest.properties.base.properties;
const heads = Type.Optional(AttentionHeads);

/** The widths of a Llama or Qwen type base; the layout follows by the general rule (spec §3.1–3.2). */
const BaseShapeFile = Type.Object(
  {
    layers: Type.Integer({ minimum: 1, maximum: 1024 }),
    hidden: Width,
    query: Type.Optional(Width),
    kv: Width,
    ffn: Width,
    rank: Type.Integer({ minimum: 1, maximum: 512 }),
    alpha: Type.Number({ exclusiveMinimum: 0 }),
    chunkWidth: Type.Optional(Width),
    layerPath: Type.Optional(Type.String()),
    /** Linear modules that carry a LoRA pair; all seven when absent. Their order in the layout is the rule's. */
    targets: Type.Optional(Type.Array(Type.Enum([...TARGET_MODULES]), { minItems: 1, uniqueItems: true })),
  },
  closed,
);

/** What the file holds: the base's name and family, and either its widths or a whole layout. */
const BaseFile = Type.Union([
  Type.Object({ id, architecture, heads, shape: BaseShapeFile }, closed),
  Type.Object({ id, architecture, heads, layout: LoraLayout }, closed),
]);

const validator = Compile(BaseFile);

/** Largest file: a layout with every module spelled out takes a few kilobytes. */
export const MAX_BASE_FILE_BYTES = 1 << 20;

/**
 * Reads a base description: `{id, architecture, heads?: {heads, kvHeads}, shape: {layers, hidden, kv, ffn, rank, alpha,
 * targets?, …}}` or the same with `layout: {…}`. Errors: `layout-invalid`, `checkpoint-invalid` for text that is not such a file.
 */
export function parseBaseFile(
  text: string,
  options: {
    /** False for generators whose adapters are not made of weight tokens: widths then need nothing in common. */
    readonly tokens?: boolean;
  } = {},
): BaseLayout {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw modelErrors.checkpoint('The layout file is not JSON.', { cause });
  }
  if (!validator.Check(value)) {
    const fields = validator
      .Errors(value)
      .map(({ instancePath, message }) => ({ pointer: instancePath, message }));
    throw modelErrors.checkpoint(
      'The layout file needs `id`, `architecture` and either `shape` or `layout`.',
      { fields },
    );
  }
  const { id: name, architecture: family, heads: count } = value as Static<typeof BaseFile>;
  const layout = withCurrentLayerPath(family, layoutOf(value, options.tokens ?? true));
  const wrong = count ? findHeadErrors(layout.modules, count) : [];
  if (wrong.length > 0) {
    throw loraErrors.layout(`The heads do not fit the layout: ${wrong.join('; ')}.`, {
      fields: wrong.map((message) => ({ pointer: '/heads', message })),
    });
  }
  return { id: name, architecture: family, ...(count && { heads: count }), layout };
}

function layoutOf(file: Static<typeof BaseFile>, tokens: boolean): LoraLayout {
  if ('shape' in file) return tokens ? layoutForBase(file.shape) : plainLayoutForBase(file.shape);
  const { chunkWidth: _, ...plain } = file.layout;
  return tokens ? file.layout : plain;
}
