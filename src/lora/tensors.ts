/** What a layout amounts to: its matrices in the order of files, and the weight tokens they are made of. */
import type {
  LoraLayout,
  LoraModule,
  LoraStack,
  LoraTensor,
  TokenizedTensor,
  TokenLayout,
} from './layout.ts';

/** Weight tokens of the whole adapter (T of spec §3.1). */
export function tokenCount(layout: TokenLayout): number {
  return layout.layers * tokensPerLayer(layout);
}

/** Weight tokens of one layer (spec §3.1). */
export function tokensPerLayer({ chunkWidth, modules }: TokenLayout): number {
  return modules.reduce((sum, module) => sum + (module.in + module.out) / chunkWidth, 0);
}

/** `[H, W]` of one token: a chunk and its two rows and two columns of scale cells. */
export function tokenShape({ chunkWidth, rank }: TokenLayout): readonly [number, number] {
  return [rank + 2, chunkWidth + 2];
}

/** The adapter's matrices as generators give them, stacked over layers: modules in the layout's order, A before B. */
export function loraStacks({ layers, modules, rank }: LoraLayout): LoraStack[] {
  return modules.flatMap((module): LoraStack[] => [
    { module, side: 'A', shape: [layers, rank, module.in] },
    { module, side: 'B', shape: [layers, module.out, rank] },
  ]);
}

/**
 * The adapter's tensors in the order in which they lie in its file: that of {@link loraStacks}, and in a stack layers
 * ascending, so that a generator's numbers are a file's bytes as they come.
 */
export function loraTensors(layout: LoraLayout): LoraTensor[] {
  return loraStacks(layout).flatMap(({ module, side }) =>
    Array.from({ length: layout.layers }, (_, layer) => tensorOf(layout, layer, module, side)),
  );
}

/** The same tensors with the weight tokens that each is made of, in the order of tokens (spec §3.2). */
export function tokenizedTensors(layout: TokenLayout): TokenizedTensor[] {
  const tensors: TokenizedTensor[] = [];
  let start = 0;
  for (let layer = 0; layer < layout.layers; layer++) {
    for (const module of layout.modules) {
      for (const side of ['A', 'B'] as const) {
        const count = (side === 'A' ? module.in : module.out) / layout.chunkWidth;
        tensors.push({ ...tensorOf(layout, layer, module, side), tokens: { start, count } });
        start += count;
      }
    }
  }
  return tensors;
}

function tensorOf(
  { layerPath, rank }: LoraLayout,
  layer: number,
  module: LoraModule,
  side: 'A' | 'B',
): LoraTensor {
  return {
    name: `base_model.model.${layerPath}.${layer}.${module.path}.lora_${side}.weight`,
    layer,
    module,
    side,
    shape: side === 'A' ? [rank, module.in] : [module.out, rank],
  };
}
