/** A Drag-and-Drop checkpoint as the generator of a bundle. */
import { join } from 'node:path';
import type { LoraLayout, TokenLayout } from '../../../lora/layout.ts';
import { tokenCount, tokenShape } from '../../../lora/tensors.ts';
import { ExternalDataFile } from '../../../onnx/external-data.ts';
import { modelErrors } from '../../errors.ts';
import type { BundleManifest, DndFacts } from '../../manifest.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import type { EncoderFacts } from '../encoder/encoder.ts';
import { checkAttention } from '../encoder/fully-masked.ts';
import type { GeneratorSource } from '../generator-source.ts';
import type { ImportOptions } from '../import-options.ts';
import type { DecoderPlan } from '../spectral/candidates.ts';
import { writeFlushed } from '../write-flushed.ts';
import {
  type DecoderArchitecture,
  decoderWeights,
  layerMultiplyAdds,
  layerParameters,
  projectionMultiplyAdds,
  projectionParameters,
} from './architecture.ts';
import { decoderGraph, decoderStageGraph } from './decoder-graph.ts';
import { findDecoder } from './find-decoder.ts';
import { decoderMemory } from './graph-memory.ts';
import { matricesGraphs } from './matrices-graph.ts';
import { directPlan, planDecoder } from './plan.ts';
import { storeDecoderWeights } from './store-decoder.ts';
import { tuneDecoder } from './tune.ts';

/** What of an import's options concerns a decoder. */
export type DecoderOptions = Pick<
  ImportOptions,
  'stateDictKey' | 'promptTokens' | 'prompts' | 'fullyMaskedAttention' | 'precision' | 'optimise' | 'onNote'
>;

/**
 * A second of direct convolutions on two cores: below it there is little to gain, and adding up a convolution's products one by
 * one keeps the last digit that transforms cost.
 */
const OPTIMISED_FROM_MULTIPLY_ADDS = 1e11;
/** Positions of a BERT encoder; spec §1.3 cuts longer prompts into slices of this length. */
const MAX_SLICE_TOKENS = 512;

const DECODER_FILE = 'decoder.onnx';
const DECODER_DATA_FILE = 'decoder.onnx.data';

/**
 * Finds the decoder in a state dict, which is closed with the source where `owned`. Errors: `checkpoint-invalid` for one that
 * is not there, or does not make the layout's weight tokens.
 */
export function openDecoder(
  stateDict: StateDict,
  layout: LoraLayout,
  options: DecoderOptions & { readonly owned: boolean },
): GeneratorSource {
  if (!isTokenLayout(layout)) {
    throw modelErrors.checkpoint('The layout has no chunkWidth, which weight tokens need.');
  }
  const { architecture, names, key, notes } = findDecoder(stateDict, {
    accepts: (found) => checkAgainst(found, layout, options),
    ...(options.stateDictKey === undefined ? {} : { key: options.stateDictKey }),
  });
  for (const note of notes) options.onNote?.(note);
  const [prompts, , width] = architecture.features[0]!;
  const promptTokens = promptTokensOf(architecture);
  const fullyMasked = options.fullyMaskedAttention ?? 'zero';
  const { optimise, precision = 'f32' } = options;

  return {
    width,
    mostTokens: MAX_SLICE_TOKENS,
    bytes: decoderWeights(architecture).reduce(
      (sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b),
      0,
    ),
    async store(directory, encoder, { onBytes, signal }) {
      const isSliced = checkSlices(promptTokens, encoder);
      const aborting = signal ? { signal } : {};
      const { plan, tuned } = await makePlan(architecture, {
        precision,
        ...(optimise && { optimise }),
        ...aborting,
      });
      const forms = new Map([...plan].map(([name, { form }]) => [name, form]));
      const dataFile = await ExternalDataFile.create(join(directory, DECODER_DATA_FILE));
      try {
        const { weights, errors } = await storeDecoderWeights(architecture, stateDict, names, dataFile, {
          ...aborting,
          forms,
          precision,
          ...(optimise ? { runner: optimise.runner } : {}),
          onBytes,
        });
        const graphOptions = { forms, computesInHalf: !optimise };
        const known = new Map([[DECODER_DATA_FILE, await dataFile.finish()]]);
        await writeFlushed(join(directory, DECODER_FILE), decoderGraph(architecture, weights, graphOptions));
        const stages: BundleManifest['generator']['stages'] = [];
        for (let index = 0; index < architecture.features.length - 1; index++) {
          const file = `decoder.stage-${String(index).padStart(2, '0')}.onnx`;
          const graph = decoderStageGraph(architecture, weights, index, graphOptions);
          await writeFlushed(join(directory, file), graph);
          const projection = index === 0 ? projectionMultiplyAdds(architecture) : 0;
          stages.push({ file, multiplyAdds: projection + plannedMultiplyAdds(plan, index) });
        }
        const matrices = matricesGraphs(layout);
        for (const [file, graph] of matrices) await writeFlushed(join(directory, file), graph);
        const multiplyAdds =
          sumOverLayers(architecture, layerMultiplyAdds) + projectionMultiplyAdds(architecture);
        return {
          files: [DECODER_FILE, DECODER_DATA_FILE, ...stages.map(({ file }) => file), ...matrices.keys()],
          known,
          // Where nobody chose, the numbers say it all: the same ones make the same bundle.
          provenance: options.stateDictKey === undefined ? [] : [`State dict of the checkpoint: ${key}.`],
          ...(isSliced && { fullyMasked }),
          facts: {
            family: 'dnd',
            layout,
            condition: {
              prompts,
              tokens: promptTokens,
              width,
              encoderTokens: encoder.encoderTokens,
              padTokenId: encoder.padTokenId,
              pooling: 'none',
              fullyMaskedAttention: fullyMasked,
            },
            generator: {
              parameters: sumOverLayers(architecture, layerParameters) + projectionParameters(architecture),
              multiplyAdds,
              precision,
              memoryBytes: decoderMemory(architecture, plan),
              graphs: [{ file: DECODER_FILE, multiplyAdds }],
              stages,
              matrices: [...matrices.keys()].map((file) => ({ file })),
            },
            dnd: {
              kernel: architecture.kernel,
              features: architecture.features.map(([n, l, c]) => [n, l, c]),
              lengthProjection: architecture.projection !== undefined,
              plan: manifestPlan(plan, errors),
              ...(tuned && { tuned }),
            },
          },
        };
      } finally {
        await dataFile.close();
      }
    },
    async [Symbol.asyncDispose]() {
      if (options.owned) await stateDict.close();
    },
  };
}

/** Whether prompts run slice by slice. Errors: `encoder-invalid`, `checkpoint-invalid` where they cannot. */
function checkSlices(promptTokens: number, { encoderTokens, operators }: EncoderFacts): boolean {
  if (promptTokens <= encoderTokens) return false;
  checkAttention(operators);
  if (promptTokens % encoderTokens !== 0) {
    throw modelErrors.checkpoint(
      `Prompts of ${promptTokens} tokens cannot be cut into slices of ${encoderTokens}.`,
    );
  }
  return true;
}

async function makePlan(
  architecture: DecoderArchitecture,
  { optimise, precision = 'f32', signal }: Pick<ImportOptions, 'optimise' | 'precision' | 'signal'>,
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

function manifestPlan(plan: DecoderPlan, errors: ReadonlyMap<string, number>): DndFacts['plan'] {
  return [...plan].map(([name, { form, multiplyAdds, weightBytes }]) => {
    const error = errors.get(name);
    return { name, form, multiplyAdds, weightBytes, ...(error === undefined ? {} : { error }) };
  });
}

function isTokenLayout(layout: LoraLayout): layout is TokenLayout {
  return layout.chunkWidth !== undefined;
}

/** Lt: what the length projection takes, or else the positions of the first layer (spec §1.4). */
function promptTokensOf({ projection, features }: DecoderArchitecture): number {
  return projection?.tokens ?? features[0]![1];
}

function checkAgainst(
  architecture: DecoderArchitecture,
  layout: TokenLayout,
  { prompts, promptTokens }: Pick<DecoderOptions, 'prompts' | 'promptTokens'>,
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
