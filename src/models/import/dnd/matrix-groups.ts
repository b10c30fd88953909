import type { LoraLayout, LoraModule } from '../../../lora/layout.ts';

/** Most numbers of the matrices of one graph, unless one module has more: 16 MiB in float32. */
const MAX_NUMBERS = 1 << 22;

/** A graph of matrices: its file, and the modules that it makes. */
export type MatrixGroup = { readonly file: string; readonly modules: readonly LoraModule[] };

/**
 * Which modules of a layout are made by which graph. Small adapters come in one; of large ones several bound the memory of a
 * run, and the bytes of one can go out while the next is computed.
 */
export function matrixGroups({ layers, modules, rank }: LoraLayout): MatrixGroup[] {
  const groups: LoraModule[][] = [];
  let numbers = Number.POSITIVE_INFINITY;
  for (const module of modules) {
    const own = layers * rank * (module.in + module.out);
    numbers += own;
    if (numbers > MAX_NUMBERS) {
      groups.push([]);
      numbers = own;
    }
    groups.at(-1)!.push(module);
  }
  return groups.map((group, index) => ({ file: matricesFile(index), modules: group }));
}

function matricesFile(index: number): string {
  return `matrices.${String(index).padStart(2, '0')}.onnx`;
}
