import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { newId } from '../../base/ids.ts';
import { checkLayout, findBase, KNOWN_BASES } from '../../lora/bases.ts';
import type { LoraLayout } from '../../lora/layout.ts';
import { tokenCount, tokenShape } from '../../lora/tensors.ts';
import { ExternalDataFile } from '../../onnx/external-data.ts';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import type { Evaluation } from '../evaluation.ts';
import type { GraphRunner } from '../graph-runner.ts';
import type { Licence } from '../licence.ts';
import { type BundleManifest, MANIFEST_VERSION } from '../manifest.ts';
import { openBundle } from '../open.ts';
import { publishDirectory, refuseOccupied, removeStale } from '../publish-directory.ts';
import { writeManifest } from '../write-manifest.ts';
import { openStateDict } from './checkpoint/open-state-dict.ts';
import type { StateDict } from './checkpoint/state-dict.ts';
import {
  type DecoderArchitecture,
  decoderWeights,
  layerMultiplyAdds,
  layerParameters,
  projectionMultiplyAdds,
  projectionParameters,
} from './dnd/architecture.ts';
import { decoderGraph, decoderStageGraph } from './dnd/decoder-graph.ts';
import { findDecoder } from './dnd/find-decoder.ts';
import { decoderMemory, encoderMemory } from './dnd/graph-memory.ts';
import { directPlan, planDecoder } from './dnd/plan.ts';
import { storeDecoderWeights } from './dnd/store-decoder.ts';
import { type TuneOptions, type Tuning, tuneDecoder } from './dnd/tune.ts';
import { copyEncoder, inspectEncoder } from './encoder/encoder.ts';
import { checkAttention, type FullyMaskedAttention } from './encoder/fully-masked.ts';
import type { DecoderPlan, Precision } from './spectral/candidates.ts';

/** A base model and its weight-token layout, for bases that are not among the known ones. */
export type BaseLayout = BundleManifest['base'] & { readonly layout: LoraLayout };

/** How far an import is. Bytes count within a step; a step whose `totalBytes` is 0 is short. */
export type ImportProgress = {
  /** In this order: weights are copied, the encoder is, digests of all files are made, and checked. */
  readonly step: 'decoder' | 'encoder' | 'digests' | 'verification';
  readonly doneBytes: number;
  readonly totalBytes: number;
};

/** What {@link importCheckpoint} needs to know. */
export type ImportOptions = {
  /**
   * File with the state dict of spec §2.5, of safetensors or of `torch.save`, or the `.index.json` of a sharded one; or the
   * state dict itself, which the caller closes.
   */
  checkpoint: string | StateDict;
  /** Which state dict of the checkpoint is meant where several fit: `ema`, or `.` for the outermost. */
  stateDictKey?: string;
  /** Holds the encoder's `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`. */
  encoderDirectory: string;
  /** The model file to take where there are several forms, relative to the directory: `onnx/model_quantized.onnx`. */
  encoderFile?: string;
  /** Id or alias of a known base model, or a base with its layout. */
  base: string | BaseLayout;
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
  /** What the decoder's large weights are stored as. Default `f32`. */
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

/**
 * A second of direct convolutions on two cores: below it there is little to gain, and adding up a convolution's products one by
 * one keeps the last digit that transforms cost.
 */
const OPTIMISED_FROM_MULTIPLY_ADDS = 1e11;

/** Age from which a half-made directory counts as left by a killed process: no import takes a day. */
const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

const DECODER_FILE = 'decoder.onnx';
const DECODER_DATA_FILE = 'decoder.onnx.data';
const ENCODER_FILE = 'encoder.onnx';
const TOKENIZER_FILE = 'tokenizer.json';
const CARD_FILE = 'MODEL_CARD.md';

/**
 * Makes a bundle from a checkpoint and an encoder. Everything is built in a hidden directory beside `out`, verified as
 * opening would, flushed, and renamed in one step: an import that fails or is aborted leaves nothing, and what one leaves
 * whose process is killed is never at `out` and goes with a later import to the same place.
 * Errors: `checkpoint-invalid`, `encoder-invalid`, `layout-invalid`; `bundle-invalid` for an id or text out of its limits.
 */
export async function importCheckpoint(options: ImportOptions): Promise<Bundle> {
  const out = resolve(options.out);
  await refuseOccupied(out, modelErrors.checkpoint);
  await mkdir(dirname(out), { recursive: true });
  const prefix = `.${basename(out)}.importing`;
  await removeStale(dirname(out), prefix, (options.now ?? Date.now)() - STALE_AFTER_MS);
  const building = join(dirname(out), newId(prefix));
  await mkdir(building);
  try {
    const totalBytes = await buildBundle(building, options);
    const bundle = await openBundle(building, {
      ...(options.signal ? { signal: options.signal } : {}),
      onBytes: bytesReporter('verification', totalBytes, options.onProgress),
    });
    await options.verify?.(bundle);
    await publishDirectory(building, out, modelErrors.checkpoint);
    return { ...bundle, directory: out };
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** Builds everything and returns the bytes of the files. */
async function buildBundle(directory: string, options: ImportOptions): Promise<number> {
  const { signal, onProgress } = options;
  const aborting = signal ? { signal } : {};
  const base = typeof options.base === 'string' ? baseNamed(options.base) : options.base;
  checkLayout(base.layout);
  const { checkpoint } = options;
  const stateDict = typeof checkpoint === 'string' ? await openStateDict(checkpoint) : checkpoint;
  const dataFile = await ExternalDataFile.create(join(directory, DECODER_DATA_FILE));
  try {
    const { architecture, names, key, notes } = findDecoder(stateDict, {
      accepts: (found) => checkAgainst(found, base.layout, options),
      ...(options.stateDictKey === undefined ? {} : { key: options.stateDictKey }),
    });
    for (const note of notes) options.onNote?.(note);
    const [prompts, , width] = architecture.features[0]!;
    const encoder = await inspectEncoder(options.encoderDirectory, {
      width,
      ...(options.encoderFile === undefined ? {} : { file: options.encoderFile }),
    });
    const promptTokens = promptTokensOf(architecture);
    const fullyMasked = options.fullyMaskedAttention ?? 'zero';
    const isSliced = promptTokens > encoder.encoderTokens;
    if (isSliced) checkAttention(encoder.operators);
    if (isSliced && promptTokens % encoder.encoderTokens !== 0) {
      throw modelErrors.checkpoint(
        `Prompts of ${promptTokens} tokens cannot be cut into slices of ${encoder.encoderTokens}.`,
      );
    }

    const sourceBytes = decoderWeights(architecture).reduce(
      (sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b),
      0,
    );
    const { optimise, precision = 'f32', evaluation, card } = options;
    const { plan, tuned } = await makePlan(architecture, options);
    const forms = new Map([...plan].map(([name, { form }]) => [name, form]));
    const { weights, errors } = await storeDecoderWeights(architecture, stateDict, names, dataFile, {
      ...aborting,
      forms,
      precision,
      ...(optimise ? { runner: optimise.runner } : {}),
      onBytes: bytesReporter('decoder', sourceBytes, onProgress),
    });
    const graphOptions = { forms, computesInHalf: !optimise };
    const known = new Map([[DECODER_DATA_FILE, await dataFile.finish()]]);
    await writeFlushed(join(directory, DECODER_FILE), decoderGraph(architecture, weights, graphOptions));
    const stages: BundleManifest['decoder']['stages'] = [];
    for (let index = 0; index < architecture.features.length - 1; index++) {
      const file = `decoder.stage-${String(index).padStart(2, '0')}.onnx`;
      await writeFlushed(
        join(directory, file),
        decoderStageGraph(architecture, weights, index, graphOptions),
      );
      const projection = index === 0 ? projectionMultiplyAdds(architecture) : 0;
      stages.push({ file, multiplyAdds: projection + plannedMultiplyAdds(plan, index) });
    }

    const ownNames = [
      DECODER_FILE,
      DECODER_DATA_FILE,
      ...stages.map(({ file }) => file),
      ENCODER_FILE,
      TOKENIZER_FILE,
      ...(card === undefined ? [] : [CARD_FILE]),
    ];
    const clash = encoder.dataFiles.find((name) => ownNames.includes(name));
    if (clash) throw modelErrors.encoder(`The encoder has a data file of a name the bundle needs: ${clash}.`);
    onProgress?.({ step: 'encoder', doneBytes: 0, totalBytes: 0 });
    const copies = { model: ENCODER_FILE, tokenizer: TOKENIZER_FILE };
    const encoderData = await copyEncoder(encoder, directory, copies, {
      ...aborting,
      ...(isSliced ? { fullyMasked } : {}),
    });

    if (card !== undefined) await writeFlushed(join(directory, CARD_FILE), new TextEncoder().encode(card));
    const files = [...ownNames, ...encoderData];
    const totalBytes = await bytesOf(directory, files);
    await writeManifest(
      directory,
      {
        schemaVersion: MANIFEST_VERSION,
        id: options.id,
        version: options.version ?? '1',
        title: options.title ?? options.id,
        description: options.description ?? '',
        trained: options.trained,
        licence: options.licence,
        provenance: [
          ...options.provenance,
          // Where nobody chose, the numbers say it all: the same ones make the same bundle.
          ...(options.stateDictKey === undefined ? [] : [`State dict of the checkpoint: ${key}.`]),
        ],
        base: { id: base.id, architecture: base.architecture, ...(base.heads && { heads: base.heads }) },
        layout: base.layout,
        condition: {
          prompts,
          tokens: promptTokens,
          width,
          encoderTokens: encoder.encoderTokens,
          padTokenId: encoder.padTokenId,
          fullyMaskedAttention: fullyMasked,
          lengthProjection: architecture.projection !== undefined,
        },
        encoder: {
          file: ENCODER_FILE,
          inputs: encoder.inputs,
          output: encoder.output,
          maxBatch: encoder.maxBatch,
          memoryBytes: await encoderMemory(directory, [ENCODER_FILE, ...encoderData]),
        },
        decoder: {
          file: DECODER_FILE,
          kernel: architecture.kernel,
          features: architecture.features.map(([n, l, c]) => [n, l, c]),
          parameters: sumOverLayers(architecture, layerParameters) + projectionParameters(architecture),
          multiplyAdds: sumOverLayers(architecture, layerMultiplyAdds) + projectionMultiplyAdds(architecture),
          precision,
          memoryBytes: decoderMemory(architecture, plan),
          plan: manifestPlan(plan, errors),
          ...(tuned && { tuned }),
          stages,
        },
        tokenizer: { file: TOKENIZER_FILE },
        ...(card === undefined ? {} : { card: { file: CARD_FILE } }),
        ...(evaluation && { evaluation }),
      },
      files,
      { ...aborting, known, onBytes: bytesReporter('digests', totalBytes, onProgress) },
    );
    return totalBytes;
  } finally {
    await dataFile.close();
    if (stateDict !== checkpoint) await stateDict.close();
  }
}

async function makePlan(
  architecture: DecoderArchitecture,
  { optimise, precision = 'f32', signal }: ImportOptions,
): Promise<{ plan: DecoderPlan; tuned?: true }> {
  if (!optimise) return { plan: directPlan(architecture, precision) };
  const { memoryBytes, tune, fromMultiplyAdds = OPTIMISED_FROM_MULTIPLY_ADDS } = optimise;
  if (sumOverLayers(architecture, layerMultiplyAdds) < fromMultiplyAdds) {
    return { plan: directPlan(architecture, precision) };
  }
  if (!tune) return { plan: planDecoder(architecture, { memoryBytes, precision }) };
  const { plan, tuning } = await tuneDecoder(architecture, {
    ...tune,
    memoryBytes,
    precision,
    ...(signal && { signal }),
  });
  tune.onTuned?.(tuning);
  return { plan, tuned: true };
}

/** Multiply-adds of the convolutions of layer `index` as they are planned. */
function plannedMultiplyAdds(plan: DecoderPlan, index: number): number {
  return [...plan]
    .filter(([name]) => name.startsWith(`layer${index}.`))
    .reduce((sum, [, { multiplyAdds }]) => sum + multiplyAdds, 0);
}

function manifestPlan(
  plan: DecoderPlan,
  errors: ReadonlyMap<string, number>,
): BundleManifest['decoder']['plan'] {
  return [...plan].map(([name, { form, multiplyAdds, weightBytes }]) => {
    const error = errors.get(name);
    return { name, form, multiplyAdds, weightBytes, ...(error === undefined ? {} : { error }) };
  });
}

/** Adds up the bytes of a step and tells of them. */
function bytesReporter(
  step: ImportProgress['step'],
  totalBytes: number,
  onProgress: ImportOptions['onProgress'],
): (bytes: number) => void {
  let doneBytes = 0;
  return (bytes) => {
    doneBytes += bytes;
    onProgress?.({ step, doneBytes, totalBytes });
  };
}

async function bytesOf(directory: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(names.map((name) => stat(join(directory, name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}

function baseNamed(name: string): BaseLayout {
  const base = findBase(name);
  if (base) return base;
  const known = KNOWN_BASES.map(({ alias }) => alias).join(', ');
  throw modelErrors.checkpoint(`There is no known base model of this name. Known are ${known}.`);
}

/** Lt: what the length projection takes, or else the positions of the first layer (spec §1.4). */
function promptTokensOf({ projection, features }: DecoderArchitecture): number {
  return projection?.tokens ?? features[0]![1];
}

function checkAgainst(
  architecture: DecoderArchitecture,
  layout: LoraLayout,
  { prompts, promptTokens }: { prompts?: number; promptTokens?: number },
): void {
  const made = architecture.features.at(-1)!;
  const wanted = [tokenCount(layout), ...tokenShape(layout)];
  if (made.some((length, axis) => length !== wanted[axis])) {
    throw modelErrors.checkpoint(
      `The last layer makes (${made.join(', ')}), the base model's layout has (${wanted.join(', ')}).`,
    );
  }
  const [n] = architecture.features[0]!;
  if (prompts !== undefined && prompts !== n) {
    throw modelErrors.checkpoint(`The checkpoint takes ${n} prompts a condition, not ${prompts}.`);
  }
  const tokens = promptTokensOf(architecture);
  if (promptTokens !== undefined && promptTokens !== tokens) {
    throw modelErrors.checkpoint(`The checkpoint takes ${tokens} tokens a prompt, not ${promptTokens}.`);
  }
}

function sumOverLayers(
  architecture: DecoderArchitecture,
  count: (architecture: DecoderArchitecture, index: number) => number,
): number {
  return architecture.features.slice(1).reduce((sum, _, index) => sum + count(architecture, index), 0);
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx', flush: true });
}
