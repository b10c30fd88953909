/** Adapter arithmetic: adapters of one base → one adapter, without training. Matrices pass by one stack of layers at a time. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import type { PeftConfig } from '../adapter/read-peft-config.ts';
import { loraScale } from '../adapter/read-peft-config.ts';
import { safetensorsHeader, writeSafetensors } from '../adapter/safetensors.ts';
import type { Dtype } from '../base/dtype.ts';
import { arithmeticErrors } from './errors.ts';
import { addPairs, type LoraPair, scalePair, zeroPair } from './pair.ts';
import { checkSum, energyOf, type ModuleSpectrum, planTransform, type TransformPlan } from './plan.ts';
import { type OpenSource, openSource, PEFT_PREFIX, readTogether } from './read-pairs.ts';
import { spectrumOf } from './spectrum.ts';
import type { TransformStep } from './steps.ts';

/** A term of a sum of adapters. */
export type WeightedSource = PeftFiles & {
  /** What it is multiplied with. */
  readonly weight: number;
};

/** What came of a transform. */
export type TransformReport = {
  readonly rank: number;
  readonly alpha: number;
  readonly dtype: Dtype;
  readonly tensors: number;
  readonly parameters: number;
  /** Share of Σ‖ΔW‖² that cutting steps left, 1 without any. */
  readonly energyKept: number;
  /** ‖ΔW‖ of every module that is left, before rounding, by the module's path in the base. */
  readonly norms: Readonly<Record<string, number>>;
};

/** A transform that is worked out, and whose files can be written. */
export type Transformed = {
  readonly report: TransformReport;
  /** The bytes of `adapter_config.json`. */
  readonly config: Uint8Array;
  /** Size of `adapter_model.safetensors`. */
  readonly weightBytes: number;
  /** The bytes of `adapter_model.safetensors`, once. Errors: those of reading, `adapter-not-finite`. */
  weights(): AsyncGenerator<Uint8Array, void, void>;
};

/** Options of {@link transformAdapters}. */
export type TransformOptions = {
  /** Absent: that of the first adapter. */
  readonly dtype?: Dtype;
  readonly signal?: AbortSignal;
  /** Hears the share of the whole work that is done. */
  readonly onProgress?: (fraction: number) => void;
};

/** A module of the sum. */
type Module = ModuleSpectrum & { readonly in: number; readonly out: number };

/**
 * Adds the sources up by their weights and takes the steps in their order. Every source is read once to decide and once to
 * write, in the numbers that its file holds: what no step touches comes out bit for bit, the rest is worked out in float64
 * and rounded to float32, then to `dtype`. `lora_alpha` keeps the first adapter's alpha / r where that makes it a whole
 * number, and is the rank otherwise. Errors: `transform-unfit`, `adapter-mismatch`, `safetensors-invalid`,
 * `adapter-not-finite`; those of reading.
 */
export async function transformAdapters(
  sources: readonly WeightedSource[],
  steps: readonly TransformStep[],
  options: TransformOptions = {},
): Promise<Transformed> {
  const { signal } = options;
  const terms = watched(sources, options.onProgress).map(openSource);
  const first = checkTogether(terms);
  const sumRank = sumOfRanks(terms);

  const modules: Module[] = [];
  let sourceDtype: Dtype | undefined;
  for await (const { pair, dtype } of sumPairs(terms, signal)) {
    sourceDtype ??= dtype;
    const { path, in: width, out } = pair;
    modules.push({ path, in: width, out, singularValues: spectrumOf(pair).singularValues });
  }
  if (!sourceDtype) throw arithmeticErrors.unfit('The adapter holds no LoRA pair.');

  const plan = planTransform(modules, sumRank, steps);
  const rank = plan.rank ?? sumRank;
  const dtype = options.dtype ?? sourceDtype;
  const { alpha, scale } = alphaFor(rank, loraScale(first));
  const kept = modules.filter(({ path }) => plan.factors.has(path));
  const tensors = stacked(kept).flatMap((stack) => [
    ...stack.map(({ path, in: width }) => ({ name: `${path}.lora_A.weight`, shape: [rank, width] })),
    ...stack.map(({ path, out }) => ({ name: `${path}.lora_B.weight`, shape: [out, rank] })),
  ]);
  async function* matrices(): AsyncGenerator<Float32Array> {
    let stack: string | undefined;
    let waiting: Float32Array[] = [];
    for await (const { pair } of sumPairs(terms, signal)) {
      const made = applyPlan(pair, plan);
      if (!made) continue;
      if (stackOf(pair) !== stack) {
        yield* waiting;
        waiting = [];
      }
      stack = stackOf(pair);
      yield Float32Array.from(made.a);
      waiting.push(Float32Array.from(made.b, (value) => value / scale));
    }
    yield* waiting;
  }
  return {
    report: {
      rank,
      alpha,
      dtype,
      tensors: tensors.length,
      parameters: kept.reduce((sum, { in: width, out }) => sum + rank * (width + out), 0),
      energyKept: plan.energyKept,
      norms: Object.fromEntries(
        kept.map((module) => [module.path.slice(PEFT_PREFIX.length), normAfter(module, plan)]),
      ),
    },
    config: configOf(first, { rank, alpha, ...(kept.length < modules.length && { kept }) }),
    weightBytes: safetensorsHeader(tensors, dtype).totalBytes,
    weights: () => writeSafetensors(tensors, matrices(), { dtype, ...(signal && { signal }) }),
  };
}

/** What the layers of one module have in common: its path without the layer's number. */
function stackOf({ path }: { readonly path: string }): string {
  return path.replace(/\.\d+\./, '.');
}

/** Modules that follow one another in different layers, together: a file has A of all of them before B. */
function stacked(modules: readonly Module[]): Module[][] {
  const stacks: Module[][] = [];
  for (const module of modules) {
    const last = stacks.at(-1);
    if (last?.[0] && stackOf(last[0]) === stackOf(module)) last.push(module);
    else stacks.push([module]);
  }
  return stacks;
}

/** The sources, the first of which tells how much of its two readings is done. */
function watched(
  sources: readonly WeightedSource[],
  onProgress: ((fraction: number) => void) | undefined,
): readonly WeightedSource[] {
  const [first, ...others] = sources;
  if (!first || !onProgress) return sources;
  let read = 0;
  async function* counted(content: AsyncIterable<Uint8Array>) {
    for await (const piece of content) {
      read += piece.length;
      onProgress!(read / (2 * first!.weightBytes));
      yield piece;
    }
  }
  return [{ ...first, openWeights: async () => counted(await first.openWeights()) }, ...others];
}

function checkTogether(sources: readonly OpenSource[]): PeftConfig {
  const first = sources[0]?.peft;
  if (!first) throw arithmeticErrors.unfit('There is no adapter to transform.');
  checkSum(sources.map(({ peft: { base_model_name_or_path: base, r } }) => ({ base, rank: r })));
  return first;
}

const sumOfRanks = (sources: readonly OpenSource[]) => sources.reduce((sum, { peft }) => sum + peft.r, 0);

/** The weighted sum, module by module. An adapter without a module counts as one of zeros, so that all ranks are alike. */
async function* sumPairs(
  sources: readonly (WeightedSource & OpenSource)[],
  signal: AbortSignal | undefined,
): AsyncGenerator<{ readonly pair: LoraPair; readonly dtype: Dtype }> {
  for await (const heads of readTogether(sources, signal)) {
    const here = heads.find((head) => head !== undefined)!;
    const terms = heads.map((head, index) => {
      const { weight, peft } = sources[index]!;
      return { pair: head?.pair ?? zeroPair(here.pair, peft.r), weight };
    });
    yield { pair: addPairs(terms), dtype: here.dtype };
  }
}

function applyPlan(pair: LoraPair, plan: TransformPlan): LoraPair | undefined {
  const factor = plan.factors.get(pair.path);
  if (factor === undefined) return undefined;
  return scalePair(plan.rank === undefined ? pair : spectrumOf(pair).cut(plan.rank), factor);
}

function normAfter({ path, singularValues }: Module, plan: TransformPlan): number {
  const left = singularValues.subarray(0, plan.rank ?? singularValues.length);
  return Math.sqrt(energyOf({ singularValues: left })) * Math.abs(plan.factors.get(path)!);
}

/** `lora_alpha` of an adapter of `rank`, and the scale that it stands for. */
function alphaFor(rank: number, wanted: number): { readonly alpha: number; readonly scale: number } {
  const alpha = wanted * rank;
  return Number.isInteger(alpha) && alpha > 0 ? { alpha, scale: wanted } : { alpha: rank, scale: 1 };
}

function configOf(
  source: PeftConfig,
  { rank, alpha, kept }: { rank: number; alpha: number; kept?: readonly Module[] },
): Uint8Array {
  const config = {
    ...source,
    r: rank,
    lora_alpha: alpha,
    use_rslora: false,
    // Whole paths, since by the short names PEFT would make pairs that the file does not have.
    ...(kept && { target_modules: kept.map(({ path }) => path.slice(PEFT_PREFIX.length)) }),
  };
  const sorted = Object.fromEntries(Object.entries(config).sort(([p], [q]) => (p < q ? -1 : 1)));
  return new TextEncoder().encode(`${JSON.stringify(sorted, null, 2)}\n`);
}
