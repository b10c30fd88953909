/** How long after its decode is an adapter stored, for the layouts of small and large bases? */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../src/base/digest.ts';
import { newId } from '../src/base/ids.ts';
import { adapterBytes } from '../src/inference/adapter-bytes.ts';
import { writeAdapter } from '../src/jobs/make-adapter.ts';
import { findBase } from '../src/lora/bases.ts';
import type { TokenLayout } from '../src/lora/layout.ts';
import { tokenCount, tokenShape } from '../src/lora/tensors.ts';
import type { Bundle } from '../src/models/bundle.ts';
import { matricesGraphs } from '../src/models/import/dnd/matrices-graph.ts';
import { createGraphBuilder } from '../src/onnx/graph-builder.ts';
import { openLocalStore } from '../src/store/local.ts';
import { buildUntrainedBundle } from '../test/helpers/untrained-bundle.ts';
import { openEngine } from './open-engine.ts';
import { makePrompts } from './prompts.ts';
import { type Benchmark, spread } from './report.ts';

const WARM_UP = 3;
const RUNS = 15;
const DTYPE = 'bf16';

export const storing: Benchmark = {
  question:
    'weight tokens → a bf16 adapter published in a directory, flushed; the real engine, writer and store, after a decoder without arithmetic',
  columns: ['base', 'file', 'decoded → published', 'of it publishing', 'whole, with the decode'],
  async run() {
    const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
    try {
      const parts = await buildUntrainedBundle({ out: join(directory, 'bundle'), seed: 0 });
      const rows: string[][] = [];
      for (const alias of ['smollm2-135m', 'qwen2.5-7b']) {
        rows.push(await measure(alias, withoutArithmetic(parts, findBase(alias)!.layout), directory));
      }
      return rows;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
};

async function measure(alias: string, bundle: Bundle, directory: string): Promise<string[]> {
  const engine = await openEngine({ device: 'cpu', promptCacheBytes: 1 << 28 });
  const all = await openLocalStore({ directory: join(directory, 'store') });
  const store = all.of('default');
  const { layout, condition } = bundle.manifest;
  const prompts = makePrompts(condition.prompts);
  const times = { stored: [] as number[], published: [] as number[], whole: [] as number[] };
  try {
    await engine.load(bundle);
    for (let run = 0; run < WARM_UP + RUNS; run++) {
      const id = newId('ad');
      const draft = await store.draft(id);
      const startedAt = performance.now();
      const { writingMs } = await writeAdapter(engine, { bundle, prompts, dtype: DTYPE }, draft.write);
      const publishingAt = performance.now();
      const now = Date.now();
      const facts = { createdAt: now, expiresAt: now + 3_600_000, contentKey: sha256(id), info: {} };
      await draft.publish(facts);
      const endedAt = performance.now();
      await store.remove(id);
      if (run < WARM_UP) continue;
      times.stored.push(writingMs + endedAt - publishingAt);
      times.published.push(endedAt - publishingAt);
      times.whole.push(endedAt - startedAt);
    }
  } finally {
    await engine.close();
    await all.close();
  }
  const megabytes = `${(adapterBytes(layout, DTYPE) / 1e6).toFixed(1)} MB`;
  return [
    alias,
    megabytes,
    ...[times.stored, times.published, times.whole].map((values) => spread(values, 'ms', 1)),
  ];
}

/** The bundle with another layout, and a decoder that makes all cells of all tokens the mean of the condition. */
function withoutArithmetic(parts: Bundle, layout: TokenLayout): Bundle {
  const { manifest } = parts;
  const { prompts, tokens, width } = manifest.condition;
  const shape = [1, tokenCount(layout), ...tokenShape(layout)];
  const graph = createGraphBuilder('no-arithmetic');
  const condition = graph.input('condition', 'float32', [1, prompts, tokens, width]);
  const mean = graph.node('mean', 'ReduceMean', [condition], { keepdims: { int: 1 } });
  const sides = graph.constant('sides', BigInt64Array.from(shape.map(BigInt)), [shape.length]);
  graph.output(graph.node('tokens', 'Expand', [mean, sides]), 'float32', shape);
  const matrices = matricesGraphs(layout);
  const supplied = new Map([['decoder.onnx', graph.encode()], ...matrices]);
  const files = [...matrices.keys()].map((file) => ({ file }));
  return {
    directory: parts.directory,
    digest: sha256(JSON.stringify(layout)),
    manifest: { ...manifest, layout, generator: { ...manifest.generator, stages: [], matrices: files } },
    supplied,
  };
}
