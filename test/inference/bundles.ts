/** Bundles for the tests of this room: the untrained one, and variations of it that the engine must treat differently. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256Json } from '../../src/base/digest.ts';
import type { Bundle } from '../../src/models/bundle.ts';
import type { BundleManifest } from '../../src/models/manifest.ts';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';

type Teardown = { teardown(run: () => Promise<unknown>): void };

/** Makes a directory that is removed with the test. */
export async function temporaryDirectory(t: Teardown): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-inference-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Builds the untrained bundle in a directory that is removed with the test. */
export async function untrainedBundle(t: Teardown): Promise<Bundle> {
  return buildUntrainedBundle({ out: join(await temporaryDirectory(t), 'bundle'), seed: 7 });
}

/** The same files under another manifest, as a bundle of its own. */
export function variant(bundle: Bundle, change: (manifest: BundleManifest) => void): Bundle {
  const manifest = structuredClone(bundle.manifest);
  change(manifest);
  return { ...bundle, manifest, digest: sha256Json(manifest) };
}

/** The bundle with the figures of a decoder that takes so long on a CPU that it is run stage by stage. */
export function stagedBundle(bundle: Bundle): Bundle {
  return variant(bundle, ({ generator }) => {
    generator.multiplyAdds = 1e12;
  });
}

/** The bundle with an encoder that takes half a prompt at a time. */
export function slicedBundle(bundle: Bundle, attention: 'zero' | 'uniform' = 'uniform'): Bundle {
  return variant(bundle, ({ condition }) => {
    condition.encoderTokens = condition.tokens / 2;
    condition.fullyMaskedAttention = attention;
  });
}

/**
 * A copy of the bundle's directory whose encoder is a small graph: the hidden state is the token id in every column, plus
 * `batchShare` times the number of prompts in the run, over (with `divideByMask`) the number of unmasked tokens; for the
 * token `nanFor` it is no number. It attends to nothing.
 */
export async function withToyEncoder(
  t: Teardown,
  bundle: Bundle,
  options: { batchShare?: number; divideByMask?: boolean; nanFor?: number },
): Promise<Bundle> {
  const directory = join(await temporaryDirectory(t), 'bundle');
  await cp(bundle.directory, directory, { recursive: true });
  const { encoder, condition } = bundle.manifest;
  const graph = createGraphBuilder('toy');
  const sides = ['batch', 'positions'];
  const ids = graph.input(encoder.inputs.ids, 'int64', sides);
  const mask = graph.input(encoder.inputs.mask, 'int64', sides);
  const types = graph.input(encoder.inputs.tokenTypes!, 'int64', sides);
  const asFloat = (name: string, value: string) => graph.node(name, 'Cast', [value], { to: { int: 1 } });
  const scalar = (name: string, value: number) => graph.constant(name, Float32Array.of(value), []);
  const batch = graph.node('batch', 'Gather', [
    graph.node('shape', 'Shape', [ids]),
    graph.constant('first', BigInt64Array.of(0n), []),
  ]);
  const share = graph.node('share', 'Mul', [
    asFloat('batch-float', batch),
    scalar('batch-share', options.batchShare ?? 0),
  ]);
  const plain = asFloat('ids-float', ids);
  // 0 over 0 for one token, and nothing for all others.
  const away = graph.node('away', 'Sub', [plain, scalar('nan-for', options.nanFor ?? -1)]);
  const nothing = graph.node('nothing', 'Div', [graph.node('zeros', 'Mul', [away, scalar('zero', 0)]), away]);
  const shown = graph.node('shown', 'Add', [plain, nothing]);
  const typed = graph.node('typed', 'Add', [shown, asFloat('types-float', types)]);
  const shared = graph.node('shared', 'Add', [typed, share]);
  const axis = graph.constant('axis', BigInt64Array.of(1n), [1]);
  const unmasked = graph.node('unmasked', 'ReduceSum', [asFloat('mask-float', mask), axis]);
  const divisor = options.divideByMask ? unmasked : graph.node('one', 'Pow', [unmasked, scalar('nought', 0)]);
  const divided = graph.node('divided', 'Div', [shared, divisor]);
  const columns = graph.node('columns', 'Unsqueeze', [
    divided,
    graph.constant('last', BigInt64Array.of(2n), [1]),
  ]);
  const row = graph.constant('row', new Float32Array(condition.width).fill(1), [1, 1, condition.width]);
  graph.node(encoder.output, 'Mul', [columns, row]);
  graph.output(encoder.output, 'float32', [...sides, condition.width]);
  await writeFile(join(directory, encoder.file), graph.encode());
  const toy = variant(bundle, (manifest) => {
    manifest.title = `An encoder that is none, ${JSON.stringify(options)}`;
  });
  return { ...toy, directory };
}

/** N different prompts. */
export function somePrompts(bundle: Bundle, label: string): string[] {
  return Array.from(
    { length: bundle.manifest.condition.prompts },
    (_, index) => `${label}: what are ${index} apples and ${index * index} pears?`,
  );
}
