/** `bundle.json`: the versioned description of a bundle directory, as a schema and its derived type. */
import { type Static, Type } from 'typebox';
import { SHA256_PATTERN } from '../base/digest.ts';
import { AttentionHeads, LoraLayout, type TokenLayout } from '../lora/layout.ts';
import { Evaluation } from './evaluation.ts';
import { Licence } from './licence.ts';

/** The schema version that is written. Version 1 is read as well (`manifest-v1.ts`). */
export const MANIFEST_VERSION = 2;

/** Name of the manifest inside a bundle directory. */
export const MANIFEST_FILE = 'bundle.json';

/** For schemas that refuse unknown fields, so that a typo never silently means a default. */
export const closed = { additionalProperties: false } as const;
const Sha256 = Type.String({ pattern: SHA256_PATTERN });
/** A file name inside the bundle directory: one segment, so it cannot leave the directory. */
export const FileName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$' });

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

/** A graph of a generator, with the multiply-adds of one run at a batch of 1. */
const Stage = Type.Object({ file: FileName, multiplyAdds: Type.Integer({ minimum: 1 }) }, closed);

/** What turns a condition into LoRA matrices: graphs, whatever the family. */
export const Generator = Type.Object(
  {
    parameters: Type.Integer({ minimum: 1 }),
    /** Multiply-adds of one run at a batch of 1; for DnD with every convolution computed directly (spec §4). */
    multiplyAdds: Type.Integer({ minimum: 1 }),
    precision: Type.Union([Type.Literal('f32'), Type.Literal('f16')]),
    /**
     * Estimated bytes that a process needs with this generator loaded on a CPU and one run under way, loading included: the
     * engine does not load a bundle that would not fit.
     */
    memoryBytes: Type.Integer({ minimum: 1 }),
    /**
     * Graphs that run one after the other, each with one float32 input and one float32 output. The first takes the
     * condition: `[B, N, Lt, C]`, or `[B, C]` where it is pooled.
     */
    graphs: Type.Array(Stage, { maxItems: 64 }),
    /**
     * The same computation in finer steps, or none. The engine runs these where a run on a CPU takes longer than a second, to
     * report progress and to stop in between.
     */
    stages: Type.Array(Stage, { maxItems: 64 }),
    /**
     * Graphs that each take the last value of the others (the condition where there are none) and give LoRA matrices stacked
     * over layers, float32: for each module they make, `<module>.A` `[layers, rank, in]` and `<module>.B`
     * `[layers, out, rank]`. Together they make all modules of the layout, in its order.
     */
    matrices: Type.Array(Type.Object({ file: FileName }, closed), { minItems: 1, maxItems: 64 }),
  },
  closed,
);
export type Generator = Static<typeof Generator>;

/** What is known of a Drag-and-Drop decoder besides its graphs. */
export const DndFacts = Type.Object(
  {
    /** k of every convolution. */
    kernel: Type.Integer({ minimum: 1, maximum: 63 }),
    /** (N, L, C) at the input of the first layer and after each layer (spec §4). */
    features: Type.Array(Feature, { minItems: 2, maxItems: 64 }),
    /** True when the decoder begins with the length projection Lt → 1000 (spec §1.4). */
    lengthProjection: Type.Boolean(),
    /** How each convolution is computed, layer by layer. */
    plan: Type.Array(PlannedConvolution),
    /** True where the plan rests on times taken on the importing machine, not on a model of costs alone. */
    tuned: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type DndFacts = Static<typeof DndFacts>;

/** What is known of a Text-to-LoRA generator besides its graphs. */
export const T2lFacts = Type.Object(
  {
    /** Paths of the modules in the order of the generator's embeddings of module types. */
    moduleOrder: Type.Array(Type.String({ maxLength: 128 }), { minItems: 1, maxItems: 64 }),
  },
  closed,
);
export type T2lFacts = Static<typeof T2lFacts>;

/** What the bundle says of itself and its base; the same in every version. */
export const bundleFacts = {
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
};

/** Sizes of a condition; the same in every version. */
export const conditionSizes = {
  /** N: texts a condition is made of. */
  prompts: Type.Integer({ minimum: 1, maximum: 4096 }),
  /** Lt: most tokens of a text; where the condition is not pooled every text is padded to it, before any length projection. */
  tokens: Type.Integer({ minimum: 1, maximum: 131_072 }),
  /** C: width of the encoder's hidden state. */
  width: Type.Integer({ minimum: 1, maximum: 16_384 }),
  /** Tokens the encoder takes in one pass; longer prompts run slice by slice (spec §1.3). */
  encoderTokens: Type.Integer({ minimum: 1, maximum: 131_072 }),
  padTokenId: Type.Integer({ minimum: 0 }),
};

/** What attention gives where every key is masked (spec §1.3). */
export const FullyMaskedAttention = Type.Union([Type.Literal('zero'), Type.Literal('uniform')]);

/** The parts beside the generator; the same in every version. */
export const bundleParts = {
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
      /**
       * Present where attention looks at keys as far as the longest text of a run reaches, in blocks of so many tokens: texts of
       * one run share their number of blocks, so that a text's numbers do not depend on the others.
       */
      keyBlock: Type.Optional(Type.Integer({ minimum: 1 })),
      /** Estimated bytes that a process needs to load the encoder; a run's workspace depends on the engine. */
      memoryBytes: Type.Integer({ minimum: 1 }),
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
};

/** The whole of `bundle.json`. */
export const BundleManifest = Type.Object(
  {
    schemaVersion: Type.Literal(MANIFEST_VERSION),
    /** The family of generators: Drag-and-Drop (weight tokens from prompts) or Text-to-LoRA (matrices from a description). */
    family: Type.Union([Type.Literal('dnd'), Type.Literal('t2l')]),
    ...bundleFacts,
    condition: Type.Object(
      {
        ...conditionSizes,
        /**
         * `none`: the hidden states of every position of N padded texts, `[1, N, Lt, C]`. `first-token`: that of the first
         * position of one text, which is not padded, `[1, C]`.
         */
        pooling: Type.Union([Type.Literal('none'), Type.Literal('first-token')]),
        /** Present where texts are padded. */
        fullyMaskedAttention: Type.Optional(FullyMaskedAttention),
      },
      closed,
    ),
    generator: Generator,
    /** Present in the family of that name alone, as `t2l` is. */
    dnd: Type.Optional(DndFacts),
    t2l: Type.Optional(T2lFacts),
    ...bundleParts,
  },
  closed,
);
export type BundleManifest = Static<typeof BundleManifest>;

/** The manifest of a bundle of the Drag-and-Drop family. */
export type DndManifest = BundleManifest & { dnd: DndFacts; layout: TokenLayout };

/** Whether the bundle is of the Drag-and-Drop family. */
export function isDnd(manifest: BundleManifest): manifest is DndManifest {
  return manifest.family === 'dnd';
}
