/** What a layout amounts to: how many weight tokens of which shape, and which tensors they make. */
import type { LoraLayout, LoraTensor } from './layout.ts';

/** Weight tokens of the whole adapter (T of spec §3.1). */
export function tokenCount(layout: LoraLayout): number {
  return layout.layers * tokensPerLayer(layout);
}

/** Weight tokens of one layer (spec §3.1). */
export function tokensPerLayer({ chunkWidth, modules }: LoraLayout): number {
  return modules.reduce((sum, module) => sum + (module.in + module.out) / chunkWidth, 0);
}

/** `[H, W]` of one token: a chunk and its two rows and two columns of scale cells. */
export function tokenShape({ chunkWidth, rank }: LoraLayout): readonly [number, number] {
  return [rank + 2, chunkWidth + 2];
}

/**
 * The adapter's tensors with the tokens each is made of, sorted by name in code-unit order: the order in which the
 * safetensors library lays tensors of one dtype into a file. The token order itself is that of spec §3.2.
 */
export function loraTensors(layout: LoraLayout): LoraTensor[] {
  const { chunkWidth, layers, layerPath, modules, rank } = layout;
  const tensors: LoraTensor[] = [];
  let start = 0;
  for (let layer = 0; layer < layers; layer++) {
    for (const module of modules) {
      for (const side of ['A', 'B'] as const) {
        const width = side === 'A' ? module.in : module.out;
        const count = width / chunkWidth;
        tensors.push({
          name: `base_model.model.${layerPath}.${layer}.${module.path}.lora_${side}.weight`,
          layer,
          module,
          side,
          shape: side === 'A' ? [rank, width] : [width, rank],
          tokens: { start, count },
        });
        start += count;
      }
    }
  }
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1));
}
