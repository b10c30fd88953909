/** What does a GPU make of a bundle: how fast, how near to the arithmetic, in how much memory, and how far from the CPU? */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { parseDevice } from '../src/inference/device.ts';
import { loraTensors } from '../src/lora/tensors.ts';
import type { Bundle } from '../src/models/bundle.ts';
import { benchErrors } from './errors.ts';
import { openMeasuredBundle, openMeasuredModel } from './measured-model.ts';
import { openEngine } from './open-engine.ts';
import type { BenchOptions } from './options.ts';
import { makePrompts } from './prompts.ts';
import { type Benchmark, gibibytes, median, relative, spread } from './report.ts';
import { compareSides } from './side-by-side.ts';

/** NVIDIA's libraries read it: 0 keeps convolutions and products out of TF32, in PyTorch as well. */
const TF32_SWITCH = 'NVIDIA_TF32_OVERRIDE';

/** How PyTorch is run beside: as it comes, compiled, and as the paper's code runs it. */
const PEERS: readonly Partial<BenchOptions>[] = [
  { compile: false, bf16: false },
  { compile: true, bf16: false },
  { compile: false, bf16: true },
  { compile: true, bf16: true },
];

export const cuda: Benchmark = {
  question:
    'prompts → LoRA tensors on a GPU, the decoder’s first run not counted; TFLOP/s are those of the direct arithmetic; memory is what the GPU has in use more than before; a difference is the largest of any LoRA tensor relative to the tensor’s largest magnitude, Loradrop’s from the CPU and PyTorch’s from Loradrop; PyTorch begins and ends with what lies on the GPU, Loradrop on the host',
  columns: ['side', 'size', 'embedding', 'decoding', 'ratio', 'TFLOP/s', 'GPU memory', 'difference'],
  onRequest: true,
  async run(options) {
    const device = options.device.startsWith('cuda') ? options.device : 'cuda';
    // First, so that a machine that cannot is told at once.
    const engine = await openEngine({ device, threads: options.threads, logLevel: 'silent' });
    await engine.close();
    const { index } = parseDevice(device);
    console.log(`GPU, driver, memory: ${await askDriver(index, 'name,driver_version,memory.total')}\n`);

    const withPyTorch = hasCudaPyTorch(options.python);
    if (!withPyTorch) console.log(`${options.python} has no PyTorch with CUDA: its rows are left out.\n`);
    const opened = { ...options, device };
    await using model: AsyncDisposable & { bundle: Bundle; checkpoint?: string } = withPyTorch
      ? await openMeasuredModel(opened)
      : await openMeasuredBundle(opened);
    const { bundle, checkpoint } = model;
    const floorTflop = (2 * bundle.manifest.generator.multiplyAdds) / 1e12;
    const rate = (seconds: readonly number[]) => (floorTflop / median(seconds)).toFixed(2);

    const own = { ...options, device, index, bundle };
    const tf32 = await measure(own);
    const float32 = await withTf32Off(() => measure(own));
    const cpu = await measure({ ...own, device: 'cpu', runs: 1 });
    const row = (name: string, figures: Figures, difference: string) => [
      name,
      bundle.manifest.id,
      spread(figures.embedding, 's', 3),
      spread(figures.decoding, 's', 3),
      '',
      rate(figures.decoding),
      gibibytes(figures.gpuBytes),
      difference,
    ];
    const rows = [
      row(`Loradrop ${device}`, tf32, relative(largestDifference(tf32.tensors, cpu.tensors))),
      row(`Loradrop ${device}, TF32 off`, float32, relative(largestDifference(float32.tensors, cpu.tensors))),
      row('Loradrop cpu', cpu, ''),
    ];
    if (checkpoint === undefined) return rows;
    const files = { bundle: bundle.directory, checkpoint };
    for (const peer of PEERS) {
      const { pytorch, loradrop, differences } = await compareSides({
        ...options,
        ...files,
        ...peer,
        device,
      });
      const seconds = pytorch.generations.map(({ decode }) => decode);
      const ours = median(loradrop.generations.map(({ decode }) => decode));
      rows.push([
        pytorch.name,
        bundle.manifest.id,
        '',
        spread(seconds, 's', 3),
        `${(median(seconds) / ours).toFixed(2)}×`,
        rate(seconds),
        '',
        relative(differences.between),
      ]);
    }
    return rows;
  },
};

type Figures = {
  /** Seconds of each run that counts. */
  readonly embedding: readonly number[];
  readonly decoding: readonly number[];
  readonly gpuBytes: number;
  /** The last run's, in the order of the file. */
  readonly tensors: readonly Float32Array[];
};

type Measured = Pick<BenchOptions, 'device' | 'threads' | 'runs'> & {
  readonly index: number;
  readonly bundle: Bundle;
};

async function measure(options: Measured): Promise<Figures> {
  const { bundle, index } = options;
  const { layout, condition } = bundle.manifest;
  const prompts = makePrompts(condition.prompts);
  const places = loraTensors(layout);
  const before = await gpuBytesInUse(index);
  const { device, threads } = options;
  const engine = await openEngine({ device, threads, logLevel: 'silent' });
  try {
    await engine.load(bundle);
    const embedding: number[] = [];
    const decoding: number[] = [];
    let tensors: Float32Array[] = [];
    for (let run = 0; run < options.runs; run++) {
      const inference = await engine.infer({ bundle, prompts, dtype: 'f32' });
      embedding.push(inference.timings.embeddingMs / 1000);
      decoding.push(inference.timings.decodingMs / 1000);
      const pieces: Uint8Array[] = [];
      for await (const piece of inference.pieces) pieces.push(piece);
      const bytes = Buffer.concat(pieces);
      let from = 0;
      tensors = places.map(({ shape: [rows, columns] }) => {
        const tensor = new Float32Array(bytes.buffer, bytes.byteOffset + 4 * from, rows * columns);
        from += tensor.length;
        return tensor;
      });
    }
    return { embedding, decoding, tensors, gpuBytes: (await gpuBytesInUse(index)) - before };
  } finally {
    await engine.close();
  }
}

async function withTf32Off<T>(work: () => Promise<T>): Promise<T> {
  process.env[TF32_SWITCH] = '0';
  try {
    return await work();
  } finally {
    delete process.env[TF32_SWITCH];
  }
}

/** Of all tensors, the largest difference relative to the expected one's largest magnitude. */
function largestDifference(ours: readonly Float32Array[], expected: readonly Float32Array[]): number {
  const differences = expected.map((tensor, place) => {
    let difference = 0;
    let magnitude = 0;
    for (let i = 0; i < tensor.length; i++) {
      difference = Math.max(difference, Math.abs(ours[place]![i]! - tensor[i]!));
      magnitude = Math.max(magnitude, Math.abs(tensor[i]!));
    }
    return difference / magnitude;
  });
  return Math.max(...differences);
}

/** Comma-separated answers of the driver about a GPU. Errors: `bench-usage` where there is no nvidia-smi. */
async function askDriver(index: number, query: string): Promise<string> {
  const args = [`--query-gpu=${query}`, '--format=csv,noheader', `--id=${index}`];
  try {
    return (await promisify(execFile)('nvidia-smi', args)).stdout.trim();
  } catch (cause) {
    throw benchErrors.usage('nvidia-smi, which comes with the driver, does not answer.', { cause });
  }
}

async function gpuBytesInUse(index: number): Promise<number> {
  return Number.parseInt(await askDriver(index, 'memory.used'), 10) * 2 ** 20;
}

function hasCudaPyTorch(python: string): boolean {
  const probe = 'import torch, numpy, safetensors, sys; sys.exit(not torch.cuda.is_available())';
  return spawnSync(python, ['-c', probe], { stdio: 'ignore' }).status === 0;
}
