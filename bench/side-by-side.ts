/** Loradrop and PyTorch on the same weights, prompts and threads, in turn where both fit into memory. */
import { createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ADAPTER_WEIGHTS_FILE } from '../src/adapter/verify.ts';
import type { Dtype } from '../src/base/dtype.ts';
import { availableMemory } from '../src/inference/available-memory.ts';
import { bundleMemory, PROCESS_BYTES } from '../src/inference/bundle-memory.ts';
import { writeAdapter } from '../src/jobs/make-adapter.ts';
import { type DndManifest, isDnd } from '../src/models/manifest.ts';
import { benchErrors } from './errors.ts';
import { ENCODE_TOKEN_BUDGET, type MeasuredModel, openMeasuredModel } from './measured-model.ts';
import { openEngine } from './open-engine.ts';
import type { BenchOptions } from './options.ts';
import { checkPython, Peer } from './peer.ts';

/** The seconds of one generation. */
export type Generation = {
  /** Condition → weight tokens. */
  readonly decode: number;
  /** Condition → the bytes of the adapter in a file. */
  readonly whole: number;
  /** Prompts → condition; absent where no encoder was asked for. */
  readonly encode?: number;
};

/** What one side took. */
export type SideFigures = {
  /** What computed: `PyTorch 2.15.0`. */
  readonly name: string;
  readonly generations: readonly Generation[];
  /** The most its process had resident. */
  readonly peakBytes: number;
};

/** Of all tensors, the largest difference relative to the tensor's largest magnitude. */
export type Differences = {
  /** Loradrop's tensors in float32 from PyTorch's, made of the weight tokens in float64. */
  readonly between: number;
  /** The bf16 files of both. */
  readonly files: number;
  /** Both sides' from those of a decode in float64, where one was asked for. */
  readonly exact?: { readonly loradrop: number; readonly pytorch: number };
  /** Loradrop's hidden states from PyTorch's, where an encoder was asked for. */
  readonly encoder?: number;
};

/** What the results of both sides were judged by. */
type Judgement = {
  readonly differences: Differences;
  /** Floating-point operations a second of a large matrix product by PyTorch, on the same device and threads. */
  readonly multiplyFlops: number;
};

/** A finished comparison. */
export type SideBySide = Judgement & {
  readonly manifest: DndManifest;
  /** What making the bundle took; absent where it was given. */
  readonly importing?: MeasuredModel['importing'];
  readonly loradrop: SideFigures;
  readonly pytorch: SideFigures;
  /** Whether the sides ran in turn, or one after the other because both do not fit into memory. */
  readonly order: 'in turn' | 'apart';
};

/** A side that is loaded. */
type Side = {
  readonly name: string;
  run(): Promise<Generation>;
  /** Leaves its results in files and tells its process's peak memory. */
  finish(): Promise<number>;
  close(): Promise<void>;
};

/** Files the two sides leave in the model's directory. */
const FILES = {
  loradropAdapter: 'loradrop.safetensors',
  /** In float32, to be compared before any rounding. */
  loradropExact: 'loradrop-f32.safetensors',
  pytorchAdapter: 'pytorch.safetensors',
  pytorchTokens: 'pytorch-tokens.f64',
  exactTokens: 'exact-tokens.f64',
  prompts: 'prompts.json',
  hidden: 'hidden.f32',
} as const;

/** PyTorch's memory, with room to spare: it reorders each kernel into a copy when it uses it (the 0.5B decoder took 7.2 GB). */
const PEER_COPIES = 1.75;
const PEER_BESIDE_BYTES = 1 << 30;

/** Runs the comparison. Errors: `bench-peer`, those of the engine. */
export async function compareSides(options: BenchOptions): Promise<SideBySide> {
  await checkPython(options.python);
  await using model = await openMeasuredModel(options);
  const { manifest } = model.bundle;
  if (!isDnd(manifest)) throw benchErrors.usage('The comparison is of Drag-and-Drop bundles.');
  const ours = PROCESS_BYTES + bundleMemory(manifest, { encodeTokenBudget: ENCODE_TOKEN_BUDGET });
  const theirs = 4 * PEER_COPIES * manifest.generator.parameters + PEER_BESIDE_BYTES;
  const together = !options.apart && ours + theirs < availableMemory();
  const openers = [() => openLoradrop(model, options), () => openPyTorch(model, options)];
  const figures = together
    ? await alternate(openers, options.runs)
    : [
        ...(await alternate(openers.slice(0, 1), options.runs)),
        ...(await alternate(openers.slice(1), options.runs)),
      ];
  const [loradrop, pytorch] = figures as [SideFigures, SideFigures];
  const order = together ? 'in turn' : 'apart';
  const { importing } = model;
  return {
    manifest,
    ...(importing && { importing }),
    loradrop,
    pytorch,
    order,
    ...(await judge(model, options)),
  };
}

/** Loads the sides and runs them in turn, once more than counts. */
async function alternate(openers: readonly (() => Promise<Side>)[], runs: number): Promise<SideFigures[]> {
  const sides: Side[] = [];
  try {
    for (const open of openers) sides.push(await open());
    const generations: Generation[][] = sides.map(() => []);
    for (let run = 0; run <= runs; run++) {
      for (const [index, side] of sides.entries()) {
        const generation = await side.run();
        if (run > 0) generations[index]!.push(generation);
      }
    }
    const figures: SideFigures[] = [];
    for (const [index, side] of sides.entries()) {
      figures.push({ name: side.name, generations: generations[index]!, peakBytes: await side.finish() });
    }
    return figures;
  } finally {
    for (const side of sides) await side.close();
  }
}

/** Loradrop's real path: the engine and its process, {@link writeAdapter}, a file. */
async function openLoradrop(model: MeasuredModel, options: BenchOptions): Promise<Side> {
  const { bundle, prompts, directory } = model;
  const { condition } = bundle.manifest;
  const measuresEncoder = options.peerEncoder !== undefined;
  const engine = await openEngine({
    device: options.device,
    threads: options.threads,
    // With all prompts in the cache a generation begins with the condition.
    promptCacheBytes: measuresEncoder ? 0 : 4 * prompts.length * condition.tokens * condition.width,
  });
  await engine.load(bundle).catch(async (error: unknown) => {
    await engine.close();
    throw error;
  });
  const generate = (dtype: Dtype, file: string) =>
    writeAdapter(engine, { bundle, prompts, dtype }, async (name, content) => {
      const path = join(directory, name === ADAPTER_WEIGHTS_FILE ? file : name);
      await pipeline(content, createWriteStream(path));
    });
  return {
    name: 'Loradrop',
    async run() {
      const startedAt = performance.now();
      const { inference } = await generate('bf16', FILES.loradropAdapter);
      const wholeMs = performance.now() - startedAt;
      const { decodingMs, embeddingMs } = inference.timings;
      return {
        decode: decodingMs / 1000,
        whole: (wholeMs - embeddingMs) / 1000,
        ...(measuresEncoder && { encode: embeddingMs / 1000 }),
      };
    },
    async finish() {
      const { peakResidentBytes } = engine.status();
      await generate('f32', FILES.loradropExact);
      return peakResidentBytes;
    },
    close: () => engine.close(),
  };
}

async function openPyTorch(model: MeasuredModel, options: BenchOptions): Promise<Side> {
  const { directory } = model;
  const peer = await startPeer(model, options, options.bf16 ? 'bf16' : 'float32');
  const encoding =
    options.peerEncoder === undefined
      ? undefined
      : { do: 'encode', prompts: join(directory, FILES.prompts), out: join(directory, FILES.hidden) };
  if (encoding) await writeFile(encoding.prompts, JSON.stringify(model.prompts));
  return {
    name: `PyTorch ${peer.version}${options.compile ? ', compiled' : ''}${options.bf16 ? ', bf16' : ''}`,
    async run() {
      const encoded = encoding && (await peer.ask(encoding));
      const made = await peer.ask({ do: 'generate', out: join(directory, FILES.pytorchAdapter) });
      return {
        decode: made.decodeSeconds!,
        whole: made.seconds!,
        ...(encoded && { encode: encoded.seconds! }),
      };
    },
    async finish() {
      const saved = await peer.ask({ do: 'save', out: join(directory, FILES.pytorchTokens) });
      return saved.peakBytes;
    },
    close: () => peer.close(),
  };
}

function startPeer(
  model: MeasuredModel,
  options: BenchOptions,
  dtype: 'float32' | 'bf16' | 'float64',
): Promise<Peer> {
  const { prompts, tokens, width } = model.bundle.manifest.condition;
  return Peer.start(options.python, [
    ...['--checkpoint', model.checkpoint, '--condition', model.condition],
    ...['--shape', `1,${prompts},${tokens},${width}`, '--layout', model.layout],
    ...['--threads', String(options.threads), '--device', options.device, '--dtype', dtype],
    ...(options.compile ? ['--compile'] : []),
    ...(options.peerEncoder === undefined
      ? []
      : ['--encoder', options.peerEncoder, '--tokens', String(tokens)]),
  ]);
}

/** Compares what the sides have left in the directory; PyTorch does the arithmetic, in float64. */
async function judge(model: MeasuredModel, options: BenchOptions): Promise<Judgement> {
  const at = (name: keyof typeof FILES) => join(model.directory, FILES[name]);
  const exact = options.float64 ? await startPeer(model, options, 'float64') : undefined;
  if (exact) {
    await exact.ask({ do: 'decode' });
    await exact.ask({ do: 'save', out: at('exactTokens') });
    await exact.close();
  }
  const peer = await Peer.start(options.python, [
    '--layout',
    model.layout,
    '--threads',
    String(options.threads),
  ]);
  const compare = async (request: Readonly<Record<string, unknown>> & { readonly do: string }) =>
    (await peer.ask(request)).difference!;
  const loradrop = { file: at('loradropExact') };
  const pytorch = { tokens: at('pytorchTokens') };
  try {
    const differences = {
      between: await compare({ do: 'compare', ...loradrop, to: at('pytorchTokens') }),
      files: await compare({ do: 'compare-adapters', files: [at('loradropAdapter'), at('pytorchAdapter')] }),
      ...(exact && {
        exact: {
          loradrop: await compare({ do: 'compare', ...loradrop, to: at('exactTokens') }),
          pytorch: await compare({ do: 'compare', ...pytorch, to: at('exactTokens') }),
        },
      }),
      ...(options.peerEncoder !== undefined && {
        encoder: await compare({ do: 'compare-raw', files: [model.condition, at('hidden')] }),
      }),
    };
    return { differences, multiplyFlops: (await peer.ask({ do: 'multiply' })).flops! };
  } finally {
    await peer.close();
  }
}
