/** What Text-to-LoRA generators of the published sizes take, beside PyTorch on the same weights and threads. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillUniform, seededRandom } from '../src/base/random.ts';
import { openGenerator } from '../src/inference/generator.ts';
import { createRounding } from '../src/inference/rounding.ts';
import type { Bundle } from '../src/models/bundle.ts';
import { openBundle } from '../src/models/open.ts';
import { runImport } from './measured-model.ts';
import { openEngine } from './open-engine.ts';
import type { BenchOptions } from './options.ts';
import { checkPython, Peer } from './peer.ts';
import { type Benchmark, gibibytes, relative, spread } from './report.ts';

const SIZES = ['t2l-gemma-2b', 't2l-mistral-7b'];
/** Tokens in one run of the encoder: the service's default. */
const ENCODE_TOKEN_BUDGET = 4096;
/** A description as people write them: about twenty tokens, another each time. */
const describe = (run: number) =>
  `Answer grade school questions about science number ${run}, in one word, without an explanation.`;

export const textToLora: Benchmark = {
  question:
    'Text-to-LoRA, random weights: `loradrop import` with an encoder of gte-large’s size; a description → adapter in the engine (bf16); and its generator alone (float32), against PyTorch eager, in turn',
  columns: [
    'size',
    'import',
    'import, peak',
    'description → adapter',
    'of it encoding',
    'engine, peak',
    'generator',
    'PyTorch',
    'PyTorch, peak',
    'difference',
  ],
  onRequest: true,
  async run(options) {
    await checkPython(options.python);
    const rows: string[][] = [];
    for (const size of SIZES) rows.push(await measure(size, options));
    return rows;
  },
};

async function measure(size: string, options: BenchOptions): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  try {
    const checkpoint = join(directory, 'hypernetwork.safetensors');
    const out = join(directory, 'bundle');
    const { seconds, peakBytes } = await runImport([
      ...['--synthetic', size, '--seed', String(options.seed), '--out', out, '--id', size],
      ...['--checkpoint-out', checkpoint],
    ]);
    const bundle = await openBundle(out);
    const engine = await measureEngine(bundle, options);
    const sides = await measureSides(bundle, { ...options, checkpoint, directory });
    return [
      size,
      `${seconds.toFixed(1)} s`,
      gibibytes(peakBytes),
      spread(engine.wholeMs, 'ms', 0),
      spread(engine.embeddingMs, 'ms', 0),
      gibibytes(engine.peakBytes),
      spread(sides.loradropMs, 'ms', 0),
      spread(sides.pytorchMs, 'ms', 0),
      gibibytes(sides.peakBytes),
      relative(sides.difference),
    ];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Descriptions through the engine, to the last byte of the adapter. */
async function measureEngine(bundle: Bundle, { device, threads, runs }: BenchOptions) {
  const engine = await openEngine({ device, threads, encodeTokenBudget: ENCODE_TOKEN_BUDGET });
  try {
    await engine.load(bundle);
    const [wholeMs, embeddingMs]: [number[], number[]] = [[], []];
    for (let run = 0; run <= runs; run++) {
      const startedAt = performance.now();
      const inference = await engine.infer({ bundle, prompts: [describe(run)], dtype: 'bf16' });
      for await (const _piece of inference.pieces);
      // The first run is warmer than none.
      if (run === 0) continue;
      wholeMs.push(performance.now() - startedAt);
      embeddingMs.push(inference.timings.embeddingMs);
    }
    return { wholeMs, embeddingMs, peakBytes: engine.status().peakResidentBytes };
  } finally {
    await engine.close();
  }
}

/** The generator alone on both sides, in turn, from one random condition to float32 matrices. */
async function measureSides(
  bundle: Bundle,
  {
    threads,
    runs,
    python,
    checkpoint,
    directory,
  }: BenchOptions & { readonly checkpoint: string; readonly directory: string },
) {
  const { condition: facts, layout, t2l } = bundle.manifest;
  const condition = new Float32Array(facts.width);
  fillUniform(seededRandom(1), condition, 1);
  const paths = { condition: join(directory, 'condition.f32'), made: join(directory, 'made.f32') };
  await writeFile(paths.condition, new Uint8Array(condition.buffer));
  const modules = t2l!.moduleOrder.map((path) => ({
    ...layout.modules.find((module) => module.path === path)!,
    name: path.slice(path.lastIndexOf('.') + 1),
  }));
  const device = { provider: 'cpu', name: 'cpu', threads } as const;
  const generator = await openGenerator(bundle, device, createRounding({ threads }));
  const peer = await Peer.start(
    python,
    [
      ...['--checkpoint', checkpoint, '--condition', paths.condition, '--modules', JSON.stringify(modules)],
      ...['--rank', String(layout.rank), '--threads', String(threads)],
    ],
    { script: 'hypernetwork.py' },
  );
  try {
    const [loradropMs, pytorchMs]: [number[], number[]] = [[], []];
    const turn = async () => {};
    const { signal } = new AbortController();
    let pieces: Buffer[] = [];
    for (let run = 0; run <= runs; run++) {
      pieces = [];
      const startedAt = performance.now();
      const value = await generator.run(condition, { signal, turn, onProgress: () => {} });
      await generator.write(value, { dtype: 'f32', turn, write: (bytes) => pieces.push(Buffer.from(bytes)) });
      const ownMs = performance.now() - startedAt;
      const { seconds = 0 } = await peer.ask({ do: 'generate' });
      if (run === 0) continue;
      loradropMs.push(ownMs);
      pytorchMs.push(1000 * seconds);
    }
    await writeFile(paths.made, Buffer.concat(pieces));
    const { difference = Number.NaN, peakBytes } = await peer.ask({ do: 'compare', file: paths.made });
    return { loradropMs, pytorchMs, difference, peakBytes };
  } finally {
    await peer.close();
  }
}
