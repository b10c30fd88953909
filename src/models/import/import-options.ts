/** What an import is given, whatever family of generators it is of. */
import type { LoraLayout } from '../../lora/layout.ts';
import type { Bundle } from '../bundle.ts';
import type { Evaluation } from '../evaluation.ts';
import type { GraphRunner } from '../graph-runner.ts';
import type { Licence } from '../licence.ts';
import type { BundleManifest } from '../manifest.ts';
import type { StateDict } from './checkpoint/state-dict.ts';
import type { TuneOptions, Tuning } from './dnd/tune.ts';
import type { FullyMaskedAttention } from './encoder/fully-masked.ts';
import type { Precision } from './spectral/candidates.ts';
import type { T2lCheckpoint } from './t2l/open-checkpoint.ts';

/** A base model and the layout of its adapters, for bases that are not among the known ones. */
export type BaseLayout = BundleManifest['base'] & { readonly layout: LoraLayout };

/** How far an import is. Bytes count within a step; a step whose `totalBytes` is 0 is short. */
export type ImportProgress = {
  /** In this order: weights are copied, the encoder is, digests of all files are made, and checked. */
  readonly step: 'generator' | 'encoder' | 'digests' | 'verification';
  readonly doneBytes: number;
  readonly totalBytes: number;
};

/** What an import needs to know. */
export type ImportOptions = {
  /**
   * File with the state dict of spec §2.5, of safetensors or of `torch.save`, or the `.index.json` of a sharded one; the
   * directory of a Text-to-LoRA checkpoint; or what such places hold, which for a state dict the caller closes.
   */
  checkpoint: string | StateDict | T2lCheckpoint;
  /** Which state dict of the checkpoint is meant where several fit: `ema`, or `.` for the outermost. */
  stateDictKey?: string;
  /** Holds the encoder's `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`. */
  encoderDirectory: string;
  /** The model file to take where there are several forms, relative to the directory: `onnx/model_quantized.onnx`. */
  encoderFile?: string;
  /**
   * Id or alias of a known base model, or a base with its layout. A Text-to-LoRA checkpoint may do without where it names a
   * known one.
   */
  base?: string | BaseLayout;
  /** Of a Text-to-LoRA checkpoint: the order of its module embedding's rows, in place of that of its heads. */
  moduleOrder?: readonly string[];
  /** The bundle directory to make; must not exist yet, or be empty. */
  out: string;
  id: string;
  title?: string;
  description?: string;
  version?: string;
  trained: boolean;
  licence: Licence;
  provenance: readonly string[];
  /** What was measured of the generator. */
  evaluation?: Evaluation;
  /** What people should know before they use it, in Markdown: becomes a file of the bundle. */
  card?: string;
  /** Lt and N as the caller believes them; a checkpoint that says otherwise is refused. */
  promptTokens?: number;
  prompts?: number;
  /**
   * What the encoder's attention gives where every key is masked (spec §1.3). Default `zero`. Where prompts are longer than
   * one slice it is written into the encoder's graph; elsewhere the case does not arise.
   */
  fullyMaskedAttention?: FullyMaskedAttention;
  /** What the generator's large weights are stored as. Default `f32`. */
  precision?: Precision;
  /** For decoders that will run on a CPU; without it every convolution stays direct, as GPUs want it. */
  optimise?: {
    /** Most memory that the decoder may take, as estimated: spectra are larger than kernels. */
    memoryBytes: number;
    /** Transforms kernels and measures what comes out. */
    runner: GraphRunner;
    /** Times ways to compute convolutions on this machine before it plans; otherwise a model of their costs decides. */
    tune?: Pick<TuneOptions, 'runner' | 'onProgress'> & { onTuned?: (tuning: Tuning) => void };
    /** Smaller decoders stay direct; {@link OPTIMISED_FROM_MULTIPLY_ADDS} when absent. */
    fromMultiplyAdds?: number;
  };
  onProgress?: (progress: ImportProgress) => void;
  /** Tries what only a runtime can tell, before the bundle gets its place; a failure is the import's. */
  verify?: (bundle: Bundle) => Promise<void>;
  /** Told what of the checkpoint was taken and what was left out, a sentence each. */
  onNote?: (sentence: string) => void;
  signal?: AbortSignal;
  /** Milliseconds since the epoch; decides which abandoned imports are old enough to remove. */
  now?: () => number;
};
