/** How much an adapter changes each module of its base, and how far two adapters are from each other. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import { innerProduct } from './distances.ts';
import { openSource, PEFT_PREFIX, readTogether } from './read-pairs.ts';

/** What {@link adapterNorms} finds. */
export type AdapterNorms = {
  /** ‖ΔW‖ (Frobenius) of each module, by its path in the base, in the order of the file. */
  readonly modules: Readonly<Record<string, number>>;
  /** √Σ‖ΔW‖². */
  readonly total: number;
  /** Where another adapter was given. */
  readonly other?: {
    readonly total: number;
    /** ‖ΔW − ΔW of the other‖ over all modules. */
    readonly distance: number;
    /** Cosine of the angle between the two changes; 0 where one of them is zero. */
    readonly cosine: number;
  };
};

/**
 * Reads the adapter once, a module at a time, beside the other one. Errors: those of reading, `transform-unfit` where the
 * two have different shapes.
 */
export async function adapterNorms(
  adapter: PeftFiles,
  { other, signal }: { other?: PeftFiles | undefined; signal?: AbortSignal } = {},
): Promise<AdapterNorms> {
  const modules: Record<string, number> = {};
  let [own, others, product] = [0, 0, 0];
  for await (const [p, q] of readTogether([adapter, ...(other ? [other] : [])].map(openSource), signal)) {
    if (p) {
      const square = Math.max(0, innerProduct(p.pair, p.pair));
      modules[p.pair.path.slice(PEFT_PREFIX.length)] = Math.sqrt(square);
      own += square;
    }
    if (q) others += Math.max(0, innerProduct(q.pair, q.pair));
    if (p && q) product += innerProduct(p.pair, q.pair);
  }
  const norms = Math.sqrt(own * others);
  return {
    modules,
    total: Math.sqrt(own),
    ...(other && {
      other: {
        total: Math.sqrt(others),
        distance: Math.sqrt(Math.max(0, own + others - 2 * product)),
        cosine: norms > 0 ? product / norms : 0,
      },
    }),
  };
}
