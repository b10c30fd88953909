/** Steps → what happens to each module, decided from singular values alone, before any matrix is made. */
import { arithmeticErrors } from './errors.ts';
import { MAX_SUM_RANK, type TransformStep } from './steps.ts';

/** A module as it stands between two steps. */
export type ModuleSpectrum = {
  readonly path: string;
  /** Singular values of ΔW, largest first. */
  readonly singularValues: Float64Array;
};

/** What a transform comes to. */
export type TransformPlan = {
  /** By path: what ΔW is multiplied with. Modules that are not here lose their LoRA. */
  readonly factors: ReadonlyMap<string, number>;
  /** The rank that pairs are cut to; undefined when they keep theirs. */
  readonly rank: number | undefined;
  /** Share of Σ‖ΔW‖² that the cutting steps left, 1 without any. */
  readonly energyKept: number;
};

/**
 * Refuses adapters that cannot be added up: other bases than the first one's, ranks that add up to too much. Errors:
 * `transform-unfit`, with the fields of those that were added to the first.
 */
export function checkSum(terms: readonly { readonly base: string; readonly rank: number }[]): void {
  const [first, ...others] = terms;
  const foreign = others.filter(({ base }) => base !== first!.base);
  if (foreign.length > 0) {
    throw arithmeticErrors.unfit(
      `The adapters are for different bases, ${first!.base} and ${foreign[0]!.base}.`,
      {
        fields: foreign.map((term) => ({
          pointer: `/add/${others.indexOf(term)}/adapter`,
          message: `is for ${term.base}, not for ${first!.base}`,
        })),
      },
    );
  }
  const rank = terms.reduce((sum, term) => sum + term.rank, 0);
  if (others.length > 0 && rank > MAX_SUM_RANK) {
    throw arithmeticErrors.unfit(`The ranks add up to ${rank}; ${MAX_SUM_RANK} are the limit.`, {
      fields: [{ pointer: '/add', message: 'adds up to too large a rank' }],
    });
  }
}

/**
 * Refuses steps that an adapter of this rank and number of modules cannot take, before anything is read. Errors:
 * `transform-unfit` with the field of the step.
 */
export function checkSteps(
  steps: readonly TransformStep[],
  adapter: { readonly rank: number; readonly modules: number },
): void {
  let { rank, modules } = adapter;
  for (const [index, step] of steps.entries()) {
    const refuse = (name: string, message: string) => {
      throw arithmeticErrors.unfit(`Step ${index + 1} does not fit: \`${name}\` ${message}.`, {
        fields: [{ pointer: `/transform/${index}/${name}`, message }],
      });
    };
    if (step.type === 'rank') {
      if (step.to === undefined && step.energy === undefined) refuse('to', 'or `energy` has to be given');
      if (step.to !== undefined && step.energy !== undefined) refuse('energy', 'and `to` exclude each other');
      if (step.to !== undefined && step.to > rank) refuse('to', `is ${step.to}, and the rank is ${rank}`);
      rank = step.to ?? rank;
      continue;
    }
    const [name, count = modules] = step.type === 'scale' ? ['top', step.top] : ['keep', step.keep];
    if (count > modules) refuse(name!, `is ${count}, and there are ${modules} modules`);
    if (step.type === 'modules') modules = step.keep;
  }
}

/**
 * Plans the steps in their order for an adapter whose pairs all have `rank`. Errors: `transform-unfit` as
 * {@link checkSteps} says, and for a share of the energy of an adapter that is zero.
 */
export function planTransform(
  modules: readonly ModuleSpectrum[],
  rank: number,
  steps: readonly TransformStep[],
): TransformPlan {
  checkSteps(steps, { rank, modules: modules.length });
  let standing = modules.map((module) => ({ ...module, factor: 1 }));
  let cut = rank;
  let energyKept = 1;
  for (const step of steps) {
    const before = sum(standing.map(energyOf));
    if (step.type === 'scale') {
      const chosen = new Set(strongest(standing, step.top ?? standing.length));
      standing = standing.map((module) => (chosen.has(module) ? scaled(module, step.factor) : module));
      continue;
    }
    if (step.type === 'modules') {
      const chosen = new Set(strongest(standing, step.keep));
      standing = standing.filter((module) => chosen.has(module));
    } else {
      if (step.energy !== undefined && before === 0) {
        throw arithmeticErrors.unfit('A share of the energy was asked for, and the adapter is zero.');
      }
      cut = Math.min(cut, step.to ?? rankOfEnergy(standing, cut, step.energy! * before));
      standing = standing.map((module) => ({
        ...module,
        singularValues: module.singularValues.subarray(0, cut),
      }));
    }
    if (before > 0) energyKept *= sum(standing.map(energyOf)) / before;
  }
  return {
    factors: new Map(standing.map(({ path, factor }) => [path, factor])),
    rank: cut === rank ? undefined : cut,
    energyKept,
  };
}

type Standing = ModuleSpectrum & { readonly factor: number };

function scaled(module: Standing, factor: number): Standing {
  const size = Math.abs(factor);
  return {
    path: module.path,
    factor: module.factor * factor,
    singularValues: module.singularValues.map((value) => value * size),
  };
}

/** ‖ΔW‖², Frobenius. */
export function energyOf({ singularValues }: Pick<ModuleSpectrum, 'singularValues'>): number {
  return singularValues.reduce((total, value) => total + value * value, 0);
}

/** The modules of largest ‖ΔW‖; of equal ones the first by name, so that the choice is the same every time. */
function strongest<M extends ModuleSpectrum>(modules: readonly M[], count: number): M[] {
  return modules
    .map((module) => ({ module, energy: energyOf(module) }))
    .sort((p, q) => q.energy - p.energy || (p.module.path < q.module.path ? -1 : 1))
    .slice(0, count)
    .map(({ module }) => module);
}

/** The smallest rank that keeps `wanted` of the energy. */
function rankOfEnergy(modules: readonly ModuleSpectrum[], rank: number, wanted: number): number {
  let kept = 0;
  for (let k = 0; k < rank; k++) {
    kept += sum(modules.map(({ singularValues }) => (singularValues[k] ?? 0) ** 2));
    // A share of 1 must not fail by the last bit of a sum.
    if (kept >= wanted * (1 - Number.EPSILON * rank * modules.length)) return k + 1;
  }
  return rank;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
