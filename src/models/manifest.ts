/** `bundle.json`: the versioned description of a bundle directory, as a schema and its derived type. */
import { type Static, Type } from 'typebox';
import { SHA256_PATTERN } from '../base/digest.ts';
import { AttentionHeads, LoraLayout } from '../lora/layout.ts';
import { Evaluation } from './evaluation.ts';
import { Licence } from './licence.ts';

/** The schema version this code writes and the only one it reads. */
export const MANIFEST_VERSION = 1;

const closed = { additionalProperties: false } as const;
const Sha256 = Type.String({ pattern: SHA256_PATTERN });
/** A file name inside the bundle directory: one segment, so it cannot leave the directory. */
const FileName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$' });

/** A file of the bundle with what it must weigh and hash to. */
export const BundleFile = Type.Object(
  { name: FileName, bytes: Type.Integer({ minimum: 0 }), sha256: Sha256 },
  closed,
);
export type BundleFile = Static<typeof BundleFile>;

/** `[rows or prompts, positions, width]` of one end of a cascade layer. */
export const Feature = Type.Tuple([
  Type.Integer({ minimum: 1 }),
  Type.Integer({ minimum: 1 }),
  Type.Integer({ minimum: 1 }),
]);

/** A convolution that slides its kernel over the map. */
export const DirectForm = Type.Object({ form: Type.Literal('direct') }, closed);

/** A convolution as products of the spectra of overlapping tiles. */
export const SpectralForm = Type.Object(
  {
    form: Type.Literal('spectral'),
    /** Which of the kernel's axes has half of its spectrum, as that of a real signal. */
    half: Type.Union([Type.Literal(0), Type.Literal(1)]),
    /** Tiles along each of the kernel's axes. */
    tiles: Type.Tuple([Type.Integer({ minimum: 1 }), Type.Integer({ minimum: 1 })]),
    /** Real products that make a complex one. */
    products: Type.Union([Type.Literal(3), Type.Literal(4)]),
    /** Output channels of a block of stored spectra. */
    blockChannels: Type.Integer({ minimum: 1 }),
  },
  closed,
);
export type SpectralForm = Static<typeof SpectralForm>;

/** The way a convolution is computed. */
export const ConvolutionForm = Type.Union([DirectForm, SpectralForm]);
export type ConvolutionForm = Static<typeof ConvolutionForm>;

/** One convolution of the decoder as the importer planned it. */
export const PlannedConvolution = Type.Object(
  {
    /** `layer<i>.` and the published name: `conv1w`, `conv1h`, `conv2h`, `conv2w`, `linear2` (spec §2.5). */
    name: Type.String({ pattern: '^layer[0-9]{1,4}\\.[a-z0-9]+$' }),
    form: ConvolutionForm,
    /** Multiply-adds of it in this form. */
    multiplyAdds: Type.Integer({ minimum: 1 }),
    /** Bytes of its stored kernel. */
    weightBytes: Type.Integer({ minimum: 1 }),
    /**
     * Largest difference to the same convolution summed up in float64, measured at import in samples of a random map's
     * output, relative to the largest magnitude there. Absent for direct ones.
     */
    error: Type.Optional(Type.Number({ minimum: 0 })),
  },
  closed,
);
export type PlannedConvolution = Static<typeof PlannedConvolution>;

/** The whole of `bundle.json`. Unknown fields are refused, so that a typo never silently means a default. */
export const BundleManifest = Type.Object(
  {
    schemaVersion: Type.Literal(MANIFEST_VERSION),
    /** What clients name in `model`. */
    id: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$' }),
    version: Type.String({ minLength: 1, maxLength: 32 }),
    title: Type.String({ maxLength: 200 }),
    description: Type.String({ maxLength: 2000 }),
    /** False while the weights are random: everything that shows the bundle says so. */
    trained: Type.Boolean(),
    licence: Licence,
    /** Where the weights, the encoder and the tokenizer come from, a sentence each. */
    provenance: Type.Array(Type.String({ minLength: 1, maxLength: 1000 })),
    base: Type.Object(
      {
        /** Goes into `base_model_name_or_path`; vLLM's resolver compares it to the served model's name exactly. */
        id: Type.String({ minLength: 1, maxLength: 200 }),
        /** Architecture family that decides names in other formats: `llama`, `qwen2`, `qwen2_5_vl`. */
        architecture: Type.String({ pattern: '^[a-z0-9_]+$' }),
        /** Needed for GGUF alone, and known by itself of the bases in `lora/bases.ts`. */
        heads: Type.Optional(AttentionHeads),
      },
      closed,
    ),
    layout: LoraLayout,
    condition: Type.Object(
      {
        /** N: prompts a condition is made of. */
        prompts: Type.Integer({ minimum: 1, maximum: 4096 }),
        /** Lt: tokens a prompt is padded and truncated to, before any length projection. */
        tokens: Type.Integer({ minimum: 1, maximum: 131_072 }),
        /** C: width of the encoder's hidden state. */
        width: Type.Integer({ minimum: 1, maximum: 16_384 }),
        /** Tokens the encoder takes in one pass; longer prompts run slice by slice (spec §1.3). */
        encoderTokens: Type.Integer({ minimum: 1, maximum: 131_072 }),
        padTokenId: Type.Integer({ minimum: 0 }),
        /** What attention gives where every key is masked (spec §1.3). */
        fullyMaskedAttention: Type.Union([Type.Literal('zero'), Type.Literal('uniform')]),
        /** True when `decoder.onnx` begins with the length projection Lt → 1000 (spec §1.4). */
        lengthProjection: Type.Boolean(),
      },
      closed,
    ),
    encoder: Type.Object(
      {
        file: FileName,
        /** Graph inputs as found by inspection; `tokenTypes` is absent where the graph has none. */
        inputs: Type.Object(
          { ids: Type.String(), mask: Type.String(), tokenTypes: Type.Optional(Type.String()) },
          closed,
        ),
        /** The output that holds the last hidden state of every position, `[batch, positions, width]`. */
        output: Type.String(),
        /** Most prompts in one run; 1 where the graph's numbers depend on its batch (dynamic quantisation). */
        maxBatch: Type.Integer({ minimum: 1 }),
        /** Estimated bytes that a process needs to load the encoder; a run's workspace depends on the engine. */
        memoryBytes: Type.Integer({ minimum: 1 }),
      },
      closed,
    ),
    decoder: Type.Object(
      {
        /** The whole decoder: `condition` `[B, N, Lt, C]` → `tokens` `[B, T, H, W]`. */
        file: FileName,
        /** k of every convolution. */
        kernel: Type.Integer({ minimum: 1, maximum: 63 }),
        /** (N, L, C) at the input of the first layer and after each layer (spec §4). */
        features: Type.Array(Feature, { minItems: 2, maxItems: 64 }),
        parameters: Type.Integer({ minimum: 1 }),
        /** Multiply-adds of one decode at B = 1, every convolution computed directly (spec §4). */
        multiplyAdds: Type.Integer({ minimum: 1 }),
        precision: Type.Union([Type.Literal('f32'), Type.Literal('f16')]),
        /**
         * Estimated bytes that a process needs with this decoder loaded on a CPU and one decode running, loading included: the
         * engine does not load a bundle that would not fit.
         */
        memoryBytes: Type.Integer({ minimum: 1 }),
        /** How each convolution is computed, layer by layer. */
        plan: Type.Array(PlannedConvolution),
        /** True where the plan rests on times taken on the importing machine, not on a model of costs alone. */
        tuned: Type.Optional(Type.Boolean()),
        /**
         * The same decoder cut between cascade layers, each graph `x` → `y`, over the same external data. The engine
         * runs these where a decode takes longer than a second, to report progress and to stop between stages.
         */
        stages: Type.Array(
          Type.Object({ file: FileName, multiplyAdds: Type.Integer({ minimum: 1 }) }, closed),
        ),
      },
      closed,
    ),
    tokenizer: Type.Object({ file: FileName }, closed),
    /** What people should know before they use it, in Markdown. */
    card: Type.Optional(Type.Object({ file: FileName }, closed)),
    /** Every file of the directory except `bundle.json` itself. */
    files: Type.Array(BundleFile, { minItems: 3 }),
    /** What was measured of it; absent where nothing was. */
    evaluation: Type.Optional(Evaluation),
  },
  closed,
);
export type BundleManifest = Static<typeof BundleManifest>;
