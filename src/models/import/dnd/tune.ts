/** Plans that rest on measurement: candidates are timed on this machine, and the model of their costs is put right. */
import { fillUniform, seededRandom } from '../../../base/random.ts';
import { createGraphBuilder } from '../../../onnx/graph-builder.ts';
import type { GraphRunner, GraphTensor } from '../../graph-runner.ts';
import type { ConvolutionForm, SpectralForm } from '../../manifest.ts';
import {
  type Candidate,
  type DecoderPlan,
  directCandidate,
  everyCandidate,
  type Precision,
  spectralCandidate,
  spectraShape,
  TYPICAL_SPEED,
  tileGroups,
  worthwhile,
} from '../spectral/candidates.ts';
import { spectralBlockGraph, spectralRows } from '../spectral/spectral-graph.ts';
import type { DecoderArchitecture } from './architecture.ts';
import { allConvolutions, type Convolution, directView, inOrder } from './convolutions.ts';
import { choosePlan } from './plan.ts';

/** What {@link tuneDecoder} needs. */
export type TuneOptions = {
  /** Most memory that the decoder may take, as for `planDecoder`. */
  readonly memoryBytes: number;
  /** What kernels will be stored as. Timed are those of float32: what widening others adds is left to the model. */
  readonly precision?: Precision;
  /** Should keep a graph's memory from run to run, as an engine does: otherwise getting it is timed too. */
  readonly runner: GraphRunner;
  readonly signal?: AbortSignal;
  /** Called after each timed graph, with the number of those done and of those wanted so far. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
};

/** A way to compute a convolution with the seconds it takes as measured. */
export type TimedForm = { readonly form: ConvolutionForm; readonly seconds: number };

/** What tuning made of the plan of the model alone. Seconds are those of all convolutions of a decode. */
export type Tuning = {
  /** The plan of the model alone, as the model has it and as measured. */
  readonly modelledSeconds: number;
  readonly untunedSeconds: number;
  /** The tuned plan, as measured. */
  readonly tunedSeconds: number;
  /** The convolutions that are computed in another way now. */
  readonly changes: readonly { readonly name: string; readonly from: TimedForm; readonly to: TimedForm }[];
};

/** Neighbours worth timing have kernels this many times smaller or larger: closer ones tell nothing new. */
const NEIGHBOUR_STEP = 1.25;
/** Times that a plan is made anew, each time after timing what the last one changed. */
const ROUNDS = 3;
/** Most times that a form is timed: what would change a plan is timed again, or one burst of other work could decide. */
const LOOKS = 2;
/** Timed runs of a graph, after one that warms up: a few, until they took this long; more where they are short. */
const RUNS = 3;
const LONG_MS = 600;
const SHORT_RUNS = 10;
const SHORT_MS = 60;
/** Output channels that direct convolutions are timed with: the most that CPU kernels take at once. */
const DIRECT_CHANNELS = 64;
/** Largest kernel of a timed direct convolution: there are several copies of it while it is loaded. */
const MAX_DIRECT_BYTES = 64 << 20;
const SEED = 5;

/** A shape of convolution, which several of a decoder may have, with what is known of the ways to compute it. */
type Shape = {
  readonly candidates: readonly Candidate[];
  /** Measured seconds over modelled ones of what was timed. */
  readonly ratios: Map<ConvolutionForm, number>;
};

/**
 * Plans a decoder as `planDecoder` does, but from measured times. For each shape of convolution these are timed: the model's
 * choice, its neighbours on both sides, its twin with the other number of products, and direct convolution; each over random
 * numbers in a graph of one block of output channels. The seconds of the model are then multiplied by what was found, those
 * of a candidate that was not timed by what was found for its nearest relative, and the plan is made anew. Wherever it differs
 * now, both ways are timed once more.
 */
export async function tuneDecoder(
  architecture: DecoderArchitecture,
  options: TuneOptions,
): Promise<{ plan: DecoderPlan; tuning: Tuning }> {
  const { memoryBytes, precision, signal, onProgress } = options;
  const convolutions = allConvolutions(architecture);
  const shapes = new Map<string, Shape>();
  for (const convolution of convolutions) {
    const key = shapeKey(convolution);
    if (shapes.has(key)) continue;
    const candidates = everyCandidate(convolution, TYPICAL_SPEED, precision);
    shapes.set(key, { candidates, ratios: new Map() });
  }
  const shapeOf = (convolution: Convolution) => shapes.get(shapeKey(convolution))!;
  const makePlan = () => {
    const choices = convolutions.map((one) => [one.name, worthwhile(corrected(shapeOf(one)))] as const);
    return choosePlan(architecture, new Map(choices), memoryBytes);
  };
  const time = createTimer(options);

  const modelled = makePlan();
  let tuned = modelled;
  const looks = new Map<ConvolutionForm, number>();
  let done = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const wanted = new Map<ConvolutionForm, Convolution>();
    for (const convolution of convolutions) {
      const [before, chosen] = [modelled.get(convolution.name)!, tuned.get(convolution.name)!];
      const changed = before.form === chosen.form ? [] : [before, chosen];
      for (const { form, weightBytes } of round === 0 ? firstLook(shapeOf(convolution), chosen) : changed) {
        if (weightBytes <= memoryBytes && (looks.get(form) ?? 0) < LOOKS) wanted.set(form, convolution);
      }
    }
    const total = done + wanted.size;
    for (const [form, convolution] of wanted) {
      signal?.throwIfAborted();
      const { ratios } = shapeOf(convolution);
      const ratio = await time(convolution, form);
      ratios.set(form, Math.min(ratio, ratios.get(form) ?? ratio));
      looks.set(form, (looks.get(form) ?? 0) + 1);
      onProgress?.(++done, total);
    }
    tuned = makePlan();
  }

  const timed = (plan: DecoderPlan) =>
    convolutions.map((one): TimedForm => {
      const { form } = plan.get(one.name)!;
      const { seconds } = corrected(shapeOf(one)).find((candidate) => candidate.form === form)!;
      return { form, seconds };
    });
  const [before, after] = [timed(modelled), timed(tuned)];
  return {
    plan: tuned,
    tuning: {
      modelledSeconds: totalSeconds([...modelled.values()]),
      untunedSeconds: totalSeconds(before),
      tunedSeconds: totalSeconds(after),
      changes: convolutions
        .map(({ name }, at) => ({ name, from: before[at]!, to: after[at]! }))
        .filter(({ from, to }) => from.form !== to.form),
    },
  };
}

function totalSeconds(some: readonly { readonly seconds: number }[]): number {
  return some.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** What the cost of a convolution depends on. */
function shapeKey({ name: _name, kernelName: _kernelName, axes: _axes, ...shape }: Convolution): string {
  return JSON.stringify(shape);
}

/** The candidates with the seconds that measurements suggest. */
function corrected({ candidates, ratios }: Shape): Candidate[] {
  const timed = candidates.filter(({ form }) => ratios.has(form));
  return candidates.map((candidate) => {
    const relative = nearestRelative(candidate, timed);
    return relative ? { ...candidate, seconds: candidate.seconds * ratios.get(relative.form)! } : candidate;
  });
}

/** Itself, or the one of the same kind, if there is one, whose kernel has the most similar size. */
function nearestRelative(candidate: Candidate, timed: readonly Candidate[]): Candidate | undefined {
  if (timed.includes(candidate)) return candidate;
  const kind = ({ form }: Candidate) => (form.form === 'direct' ? form.form : form.products);
  const family = timed.filter((one) => kind(one) === kind(candidate));
  const distance = ({ weightBytes }: Candidate) => Math.abs(Math.log(weightBytes / candidate.weightBytes));
  return (family.length > 0 ? family : timed).toSorted((a, b) => distance(a) - distance(b))[0];
}

/** What is timed of a shape at first, the model's choice among it. */
function firstLook({ candidates }: Shape, chosen: Candidate): Candidate[] {
  const { form, weightBytes, seconds } = chosen;
  const worthy = worthwhile(candidates);
  const [direct, ...spectral] = candidates as [Candidate, ...Candidate[]];
  const larger = (one: Candidate) => one.weightBytes >= weightBytes * NEIGHBOUR_STEP && one.seconds < seconds;
  return [
    chosen,
    direct,
    ...fastest(worthy.filter((one) => one.weightBytes * NEIGHBOUR_STEP <= weightBytes)),
    ...(worthy.some(larger) ? [worthy.find(larger)!] : fastest(spectral)),
    ...(form.form === 'spectral' ? spectral.filter((one) => isTwin(one.form, form)) : []),
  ];
}

/** The fastest of some, if there are any. */
function fastest(some: readonly Candidate[]): Candidate[] {
  return some.toSorted((a, b) => a.seconds - b.seconds).slice(0, 1);
}

function isTwin(one: ConvolutionForm, other: SpectralForm): boolean {
  return (
    one.form === 'spectral' &&
    one.half === other.half &&
    one.tiles.every((tiles, axis) => tiles === other.tiles[axis]) &&
    one.products !== other.products
  );
}

/** A graph to be timed. */
type Sample = {
  readonly model: Uint8Array;
  readonly inputs: Readonly<Record<string, GraphTensor>>;
  readonly outputShape: readonly number[];
  /** What the model says it takes. */
  readonly modelledSeconds: number;
};

/** Random numbers in a tensor of that shape; valid until the next sample. */
type Draw = (shape: readonly number[]) => GraphTensor<Float32Array>;

/** Returns a function that runs a form of a convolution and tells the measured seconds over the modelled ones. */
function createTimer({ runner, signal, now = () => performance.now() }: TuneOptions) {
  // One stretch of numbers serves all inputs: a block of spectra has hundreds of megabytes.
  let numbers = new Float32Array(0);
  let output = new Float32Array(0);
  const draw: Draw = (shape) => {
    const length = product(shape);
    if (numbers.length < length) numbers = randomNumbers(length);
    return { values: numbers.subarray(0, length), shape };
  };

  return async (convolution: Convolution, form: ConvolutionForm): Promise<number> => {
    const sample =
      form.form === 'spectral' ? spectralSample(convolution, form, draw) : directSample(convolution, draw);
    const length = product(sample.outputShape);
    if (output.length < length) output = new Float32Array(length);
    const result = { values: output.subarray(0, length), shape: sample.outputShape };
    const graph = await runner(sample.model);
    try {
      await graph.run(sample.inputs, result);
      // The fastest run counts: whatever else a machine does, it only adds.
      let fastestMs = Number.POSITIVE_INFINITY;
      let spentMs = 0;
      for (let run = 0; spentMs < SHORT_MS ? run < SHORT_RUNS : run < RUNS && spentMs < LONG_MS; run++) {
        signal?.throwIfAborted();
        const startedAt = now();
        await graph.run(sample.inputs, result);
        const tookMs = now() - startedAt;
        fastestMs = Math.min(fastestMs, tookMs);
        spentMs += tookMs;
      }
      return fastestMs / 1000 / sample.modelledSeconds;
    } finally {
      await graph.close();
    }
  };
}

/** One block of a spectral convolution. */
function spectralSample(convolution: Convolution, form: SpectralForm, draw: Draw): Sample {
  const { lengths, inputs, firstIn, firstOut } = convolution;
  const block = { ...convolution, outputs: form.blockChannels };
  const groups = tileGroups(convolution, form);
  const rows = spectralRows(convolution, form, groups);
  return {
    model: spectralBlockGraph(convolution, form),
    inputs: {
      x: draw([1, ...inOrder(lengths, firstIn), inputs]),
      spectra: draw(spectraShape(block, form)),
      rows: { values: rows, shape: [rows.length] },
    },
    outputShape: [1, ...inOrder(lengths, firstOut), form.blockChannels],
    modelledSeconds: spectralCandidate(block, form, TYPICAL_SPEED, 'f32', groups).seconds,
  };
}

/** A few output channels of a direct convolution; its kernel is a constant, which a runtime lays out as it likes. */
function directSample(convolution: Convolution, draw: Draw): Sample {
  const { lengths, inputs, outputs } = convolution;
  const { swapped, taps } = directView(convolution);
  const [height, width] = taps;
  const most = Math.max(1, Math.floor(MAX_DIRECT_BYTES / (4 * inputs * height * width)));
  const channels = Math.min(outputs, DIRECT_CHANNELS, most);
  const sides = swapped ? lengths.toReversed() : lengths;
  const graph = createGraphBuilder('direct-channels');
  const x = graph.input('x', 'float32', [1, inputs, ...sides]);
  const kernelShape = [channels, inputs, height, width];
  const kernels = graph.constant('kernels', draw(kernelShape).values, kernelShape);
  const [padY, padX] = [(height - 1) / 2, (width - 1) / 2];
  graph.node('y', 'Conv', [x, kernels], {
    kernel_shape: { ints: taps },
    pads: { ints: [padY, padX, padY, padX] },
  });
  const outputShape = [1, channels, ...sides];
  graph.output('y', 'float32', outputShape);
  return {
    model: graph.encode(),
    inputs: { x: draw([1, inputs, ...sides]) },
    outputShape,
    modelledSeconds: directCandidate({ ...convolution, outputs: channels }).seconds,
  };
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b);
}

/** Numbers drawn once and then repeated: their values do not matter to the time, but for zeros and subnormals. */
function randomNumbers(length: number): Float32Array<ArrayBuffer> {
  const numbers = new Float32Array(length);
  const drawn = Math.min(length, 1 << 16);
  fillUniform(seededRandom(SEED), numbers.subarray(0, drawn), 1);
  for (let filled = drawn; filled < length; filled *= 2) numbers.copyWithin(filled, 0, filled);
  return numbers;
}
