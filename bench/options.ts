import { parseArgs } from 'node:util';
import { availableThreads } from '../src/inference/available-threads.ts';
import { PRESETS, type Preset } from '../src/models/import/dnd/presets.ts';
import { benchErrors } from './errors.ts';

/** What a command line asks of the benchmarks. */
export type BenchOptions = {
  /** The size of decoder to measure. */
  readonly preset: Preset;
  readonly seed: number;
  /** A bundle to measure in place of a synthetic one, and its decoder's weights as safetensors for PyTorch. */
  readonly bundle?: string;
  readonly checkpoint?: string;
  /** Directory with an ONNX encoder and tokenizer; the same with PyTorch weights, for the other side. */
  readonly encoder?: string;
  readonly peerEncoder?: string;
  /** GiB the importer may plan for; as much as there is when absent. */
  readonly memoryBudget?: string;
  readonly runs: number;
  /** Jobs at each load of the fleet benchmarks. */
  readonly jobs: number;
  /** Threads of both sides. */
  readonly threads: number;
  /** `cpu` or `cuda`, for both sides. */
  readonly device: string;
  /** A Python that has what `pytorch/requirements.txt` names. */
  readonly python: string;
  readonly compile: boolean;
  /** PyTorch under bf16 autocast, as the paper's code runs it. */
  readonly bf16: boolean;
  /** Also decode once in float64 and measure both sides against that. */
  readonly float64: boolean;
  /** Run one side after the other even where both fit into memory. */
  readonly apart: boolean;
  /** How long `soak` runs. */
  readonly minutes: number;
};

const USAGE = `npm run bench [-- NAME … OPTION …]
  --size SIZE        ${PRESETS.map(({ name }) => name).join(', ')} (default two-minute)
  --seed N           seed of the random weights (default 0)
  --bundle DIR --checkpoint FILE.safetensors   measure these instead
  --encoder DIR      an ONNX encoder in place of a random one; measures the encoder too
  --peer-encoder DIR the same encoder for PyTorch (default: the directory of --encoder)
  --memory-budget N  GiB of memory to plan the decoder for (default: as \`loradrop import\`)
  --runs N           timed runs of each side after one that is not (default 3)
  --jobs N           jobs at each load of fleet-check and fleet-costs (default 150)
  --threads N        threads of both sides (default: all)
  --device DEVICE    cpu or cuda (default cpu)
  --python PATH      Python with PyTorch (default python3)
  --compile, --bf16  PyTorch with torch.compile, with bf16 autocast
  --float64          measure the errors of both sides against float64 (slow)
  --apart            one side after the other, also where both fit into memory
  --minutes N        how long soak runs (default 30)`;

/** The names of benchmarks and the options of a command line. Errors: `bench-usage`. */
export function parseOptions(args: readonly string[]): { names: string[]; options: BenchOptions } {
  const { values, positionals } = parse(args);
  const preset = PRESETS.find(({ name }) => name === values.size);
  if (!preset) throw usage(`There is no size ${values.size}.`);
  if ((values.bundle === undefined) !== (values.checkpoint === undefined)) {
    throw usage('--bundle and --checkpoint go together: both sides need the same weights.');
  }
  if (values.bundle !== undefined && values.encoder !== undefined) {
    throw usage('A bundle has its own encoder; give --peer-encoder to measure it.');
  }
  const peerEncoder = values['peer-encoder'] ?? values.encoder;
  return {
    names: positionals,
    options: {
      preset,
      seed: wholeNumber('--seed', values.seed, 0),
      ...(values.bundle === undefined ? {} : { bundle: values.bundle }),
      ...(values.checkpoint === undefined ? {} : { checkpoint: values.checkpoint }),
      ...(values.encoder === undefined ? {} : { encoder: values.encoder }),
      ...(peerEncoder === undefined ? {} : { peerEncoder }),
      ...(values['memory-budget'] === undefined ? {} : { memoryBudget: values['memory-budget'] }),
      runs: wholeNumber('--runs', values.runs, 1),
      jobs: wholeNumber('--jobs', values.jobs, 1),
      threads:
        values.threads === undefined ? availableThreads() : wholeNumber('--threads', values.threads, 1),
      device: values.device,
      python: values.python,
      compile: values.compile,
      bf16: values.bf16,
      float64: values.float64,
      apart: values.apart,
      minutes: wholeNumber('--minutes', values.minutes, 1),
    },
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        size: { type: 'string', default: 'two-minute' },
        seed: { type: 'string', default: '0' },
        bundle: { type: 'string' },
        checkpoint: { type: 'string' },
        encoder: { type: 'string' },
        'peer-encoder': { type: 'string' },
        'memory-budget': { type: 'string' },
        runs: { type: 'string', default: '3' },
        jobs: { type: 'string', default: '150' },
        threads: { type: 'string' },
        device: { type: 'string', default: 'cpu' },
        python: { type: 'string', default: 'python3' },
        compile: { type: 'boolean', default: false },
        bf16: { type: 'boolean', default: false },
        float64: { type: 'boolean', default: false },
        apart: { type: 'boolean', default: false },
        minutes: { type: 'string', default: '30' },
      },
    });
  } catch (cause) {
    throw usage((cause as Error).message);
  }
}

function wholeNumber(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw usage(`${name} is a whole number from ${minimum}.`);
  }
  return value;
}

function usage(reason: string) {
  return benchErrors.usage(`${reason}\n${USAGE}`);
}
