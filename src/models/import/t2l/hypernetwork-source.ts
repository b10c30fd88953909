/** A Text-to-LoRA checkpoint as the generator of a bundle. */
import { join } from 'node:path';
import type { LoraLayout } from '../../../lora/layout.ts';
import { ExternalDataFile } from '../../../onnx/external-data.ts';
import { modelErrors } from '../../errors.ts';
import type { GeneratorSource } from '../generator-source.ts';
import type { BaseLayout } from '../import-options.ts';
import type { Precision } from '../stored-numbers.ts';
import { writeFlushed } from '../write-flushed.ts';
import type { T2lAdapterConfig } from './adapter-config.ts';
import {
  findHypernetwork,
  type Hypernetwork,
  headMultiplyAdds,
  hypernetworkParameters,
  trunkMultiplyAdds,
} from './hypernetwork.ts';
import { headGraph, trunkGraph } from './hypernetwork-graph.ts';
import type { T2lCheckpoint } from './open-checkpoint.ts';
import { storeHypernetwork } from './store-hypernetwork.ts';

const TRUNK_FILE = 'hypernetwork.onnx';
const DATA_FILE = 'hypernetwork.onnx.data';
/** Most tokens of a description that the published code keeps. */
const MAX_DESCRIPTION_TOKENS = 8192;

/**
 * Copies of a weight matrix that there are at once while it is packed for products, beside those that are finished: the one in
 * the file and the packed one.
 */
const LOADING_COPIES = 2;

/** How a checkpoint is imported. */
export type HypernetworkOptions = {
  readonly base: BaseLayout;
  readonly precision: Precision;
  /** Order of the module embedding's rows, in place of that of the heads. */
  readonly moduleOrder?: readonly string[];
  readonly onNote?: (sentence: string) => void;
};

/**
 * Reads a checkpoint as far as its shapes; it is closed with the source. Errors: `checkpoint-invalid` naming the tensor or
 * option that does not fit.
 */
export function openHypernetwork(
  { stateDict, args, config }: T2lCheckpoint,
  { base, precision, moduleOrder, onNote }: HypernetworkOptions,
): GeneratorSource {
  const moduleOf = (name: string) => {
    const found = base.layout.modules.find(({ path }) => nameOf(path) === name);
    if (!found)
      throw modelErrors.checkpoint(`The checkpoint targets ${name}, which the base's layout does not have.`);
    return found;
  };
  const { hypernetwork, names } = findHypernetwork(stateDict.entries, {
    args,
    rank: config.r,
    targets: config.target_modules,
    widthsOf: moduleOf,
    layers: base.layout.layers,
    ...(moduleOrder && { moduleOrder }),
  });
  const layout = layoutOf(base.layout, config, hypernetwork);
  for (const note of notesOf(layout, { base, config, hypernetwork, given: moduleOrder !== undefined }))
    onNote?.(note);
  const parameters = hypernetworkParameters(hypernetwork);
  const bytes = 4 * parameters;
  return {
    width: hypernetwork.width,
    mostTokens: MAX_DESCRIPTION_TOKENS,
    bytes,
    async store(directory, encoder, { onBytes, signal }) {
      const dataFile = await ExternalDataFile.create(join(directory, DATA_FILE));
      try {
        const placed = await storeHypernetwork(hypernetwork, stateDict, names, dataFile, {
          precision,
          onBytes,
          ...(signal && { signal }),
        });
        const known = new Map([[DATA_FILE, await dataFile.finish()]]);
        await writeFlushed(join(directory, TRUNK_FILE), trunkGraph(hypernetwork, placed));
        const matrices: { file: string }[] = [];
        for (const [place, { path }] of layout.modules.entries()) {
          const file = `matrices.${String(place).padStart(2, '0')}.onnx`;
          const index = hypernetwork.modules.findIndex(({ name }) => name === nameOf(path));
          await writeFlushed(join(directory, file), headGraph(hypernetwork, placed, { index, path }));
          matrices.push({ file });
        }
        const trunk = trunkMultiplyAdds(hypernetwork);
        const { encoderTokens, padTokenId } = encoder;
        return {
          files: [TRUNK_FILE, DATA_FILE, ...matrices.map(({ file }) => file)],
          known,
          provenance: [],
          facts: {
            family: 't2l',
            layout,
            condition: {
              prompts: 1,
              tokens: Math.min(MAX_DESCRIPTION_TOKENS, encoderTokens),
              width: hypernetwork.width,
              encoderTokens,
              padTokenId,
              pooling: 'first-token',
            },
            generator: {
              parameters,
              multiplyAdds: trunk + headMultiplyAdds(hypernetwork),
              precision,
              memoryBytes: memoryOf(hypernetwork, bytes),
              graphs: [{ file: TRUNK_FILE, multiplyAdds: trunk }],
              stages: [],
              matrices,
            },
            t2l: { moduleOrder: hypernetwork.modules.map(({ name }) => moduleOf(name).path) },
          },
        };
      } finally {
        await dataFile.close();
      }
    },
    [Symbol.asyncDispose]: () => stateDict.close(),
  };
}

/** Last part of a module's path. */
function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** The base's layout with the adapters of the checkpoint: its modules in the base's order, its rank and alpha. */
function layoutOf(
  { layers, layerPath, modules }: LoraLayout,
  config: T2lAdapterConfig,
  hypernetwork: Hypernetwork,
): LoraLayout {
  const targets = new Set(hypernetwork.modules.map(({ name }) => name));
  return {
    rank: config.r,
    alpha: config.lora_alpha,
    ...(config.use_rslora && { rsLora: true }),
    layers,
    layerPath,
    modules: modules.filter(({ path }) => targets.has(nameOf(path))),
  };
}

/** What a person should know: what was taken of the checkpoint where other places could say something else. */
function notesOf(
  layout: LoraLayout,
  about: {
    readonly base: BaseLayout;
    readonly config: T2lAdapterConfig;
    readonly hypernetwork: Hypernetwork;
    /** The order of modules was given. */
    readonly given: boolean;
  },
): string[] {
  const { base, config, hypernetwork, given } = about;
  const order = hypernetwork.modules.map(({ name }) => name).join(', ');
  const notes = [
    `Order of modules: ${order}, ${given ? 'as given' : 'that of the heads in the state dict'}.`,
  ];
  const { base_model_name_or_path: trainedFor } = config;
  if (trainedFor && trainedFor !== base.id) {
    notes.push(
      `The checkpoint names the base ${JSON.stringify(trainedFor.slice(0, 200))}; its adapters will name ${base.id}.`,
    );
  }
  if (layout.rank !== base.layout.rank || layout.alpha !== base.layout.alpha) {
    notes.push(`Rank ${layout.rank} and alpha ${layout.alpha} are those of adapter_config.json.`);
  }
  return notes;
}

/** Estimated bytes to load and run the generator on a CPU. */
function memoryOf({ modules, headIn, rank }: Hypernetwork, bytes: number): number {
  const largest = Math.max(...modules.map((module) => 4 * rank * (module.in + module.out) * headIn));
  return bytes + (LOADING_COPIES - 1) * largest;
}
