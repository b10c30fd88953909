/**
 * Which way each convolution of a decoder is computed: the whole in the least time, with as much memory for spectra as the
 * budget allows.
 */

import {
  type Candidate,
  candidates,
  type DecoderPlan,
  directCandidate,
  type MachineSpeed,
  type Precision,
} from '../spectral/candidates.ts';
import type { DecoderArchitecture } from './architecture.ts';
import { allConvolutions } from './convolutions.ts';
import { decoderMemory } from './graph-memory.ts';

/** The direct form of every convolution. */
export function directPlan(architecture: DecoderArchitecture, precision: Precision): DecoderPlan {
  return new Map(
    allConvolutions(architecture).map((one) => [one.name, directCandidate(one, undefined, precision)]),
  );
}

/**
 * The plan that takes the least time on a CPU with the decoder's memory, as `decoderMemory` estimates it, inside
 * `memoryBytes`; the smallest there is where nothing fits.
 */
export function planDecoder(
  architecture: DecoderArchitecture,
  options: {
    readonly memoryBytes: number;
    readonly speed?: MachineSpeed;
    readonly precision?: Precision;
  },
): DecoderPlan {
  const convolutions = allConvolutions(architecture);
  const choices = new Map(
    convolutions.map((one) => [one.name, candidates(one, options.speed, options.precision)]),
  );
  return choosePlan(architecture, choices, options.memoryBytes);
}

/** The plan as {@link planDecoder} makes it, from the ways that each convolution may take, by its name. */
export function choosePlan(
  architecture: DecoderArchitecture,
  choices: ReadonlyMap<string, readonly Candidate[]>,
  memoryBytes: number,
): DecoderPlan {
  let plan = chooseForms(choices, memoryBytes);
  for (let round = 0; round < BUDGET_ROUNDS; round++) {
    const excess = decoderMemory(architecture, plan) - memoryBytes;
    if (excess <= 0) return useRest(architecture, choices, plan, memoryBytes);
    plan = chooseForms(choices, totalBytes(plan) - excess);
  }
  return plan;
}

/** What lies in memory besides kernels depends a little on the plan: a few rounds settle it. */
const BUDGET_ROUNDS = 8;

/**
 * Spends what a common price of memory leaves over: a large kernel's next step may be out of reach while smaller ones could
 * still gain. As long as some exchange saves time and fits, the one that saves most is made.
 */
function useRest(
  architecture: DecoderArchitecture,
  choices: ReadonlyMap<string, readonly Candidate[]>,
  first: DecoderPlan,
  memoryBytes: number,
): DecoderPlan {
  let plan = first;
  const changed = (name: string, candidate: Candidate) => new Map(plan).set(name, candidate);
  for (;;) {
    const step = [...choices]
      .flatMap(([name, some]) =>
        some.map((candidate) => ({ name, candidate, seconds: plan.get(name)!.seconds - candidate.seconds })),
      )
      .filter(({ seconds }) => seconds > 0)
      .sort((a, b) => b.seconds - a.seconds)
      .find(({ name, candidate }) => decoderMemory(architecture, changed(name, candidate)) <= memoryBytes);
    if (!step) return plan;
    plan = changed(step.name, step.candidate);
  }
}

/**
 * Chooses a way for each convolution so that the whole takes the least time with stored kernels of at most `weightBytes`.
 * Memory has a price, the same for all convolutions, and the lowest price whose choice fits the budget is found by halving
 * its logarithm. Where even the smallest choice does not fit, it is returned.
 */
export function chooseForms(
  options: ReadonlyMap<string, readonly Candidate[]>,
  weightBytes: number,
): DecoderPlan {
  const choiceAt = (secondsPerByte: number) =>
    new Map(
      [...options].map(([name, some]) => [
        name,
        some.reduce((best, one) => (costAt(one, secondsPerByte) < costAt(best, secondsPerByte) ? one : best)),
      ]),
    );
  const fits = (choice: DecoderPlan) => totalBytes(choice) <= weightBytes;
  const free = choiceAt(0);
  if (fits(free)) return free;
  let [low, high] = PRICES as [number, number];
  let choice = choiceAt(high);
  for (let step = 0; step < PRICE_STEPS; step++) {
    const price = Math.sqrt(low * high);
    const at = choiceAt(price);
    if (fits(at)) [choice, high] = [at, price];
    else low = price;
  }
  return choice;
}

/** Seconds a byte between which prices are sought: from a terabyte for a millisecond to a second for every byte. */
const PRICES: readonly [number, number] = [1e-15, 1];
/** Halvings of the fifteen powers of ten: prices that differ less choose the same. */
const PRICE_STEPS = 40;

function costAt({ seconds, weightBytes }: Candidate, secondsPerByte: number): number {
  return seconds + weightBytes * secondsPerByte;
}

function totalBytes(choice: DecoderPlan): number {
  return [...choice.values()].reduce((sum, { weightBytes }) => sum + weightBytes, 0);
}
