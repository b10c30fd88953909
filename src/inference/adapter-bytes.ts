import { DTYPE_BYTES, type Dtype } from '../base/dtype.ts';
import type { LoraLayout } from '../lora/layout.ts';
import { loraStacks } from '../lora/tensors.ts';

/** Bytes of all tensors of an adapter together. */
export function adapterBytes(layout: LoraLayout, dtype: Dtype): number {
  const numbers = loraStacks(layout).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
  return numbers * DTYPE_BYTES[dtype];
}
