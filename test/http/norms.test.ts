/** The norms that the console shows, held against ΔW = (α / r) · B · A written out in full. */
import { test } from 'tap';
import { indexedRandom } from '../../src/base/random.ts';
import type { LoraLayout } from '../../src/lora/layout.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { publishTinyAdapter } from '../helpers/tiny-adapter.ts';
import { startApi } from './start-api.ts';

/** Two layers of two modules, none of them square. */
const layoutOf = (rank: number, alpha: number, out = 6): LoraLayout => ({
  rank,
  alpha,
  chunkWidth: 2,
  layers: 2,
  layerPath: 'model.layers',
  modules: [
    { path: 'mlp.up_proj', in: 4, out: 10 },
    { path: 'self_attn.q_proj', in: 8, out },
  ],
});

function matricesOf(layout: LoraLayout, seed: number): Float32Array[] {
  return loraTensors(layout).map(({ name, shape }) => {
    const values = new Float32Array(shape[0] * shape[1]);
    indexedRandom(seed, name).fill(values, 0, 0.5);
    return values;
  });
}

/** All of ΔW of each module, in float64. */
function changesOf(layout: LoraLayout, matrices: readonly Float32Array[]): Map<string, number[]> {
  const changes = new Map<string, number[]>();
  const tensors = loraTensors(layout);
  const { rank, alpha } = layout;
  for (const [index, { layer, module, side }] of tensors.entries()) {
    if (side === 'B') continue;
    const a = matrices[index]!;
    const b =
      matrices[
        tensors.findIndex(
          (other) => other.layer === layer && other.module.path === module.path && other.side === 'B',
        )
      ]!;
    const change: number[] = [];
    for (let row = 0; row < module.out; row++) {
      for (let column = 0; column < module.in; column++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += b[row * rank + k]! * a[k * module.in + column]!;
        change.push((alpha / rank) * sum);
      }
    }
    changes.set(`model.layers.${layer}.${module.path}`, change);
  }
  return changes;
}

const norm = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

test('norms, distance and angle are those of the changes written out', async (t) => {
  const { app, store } = await startApi(t, { work: false });
  // Of different rank and scale: neither may be left out.
  const one = { layout: layoutOf(4, 8), seed: 1 };
  const two = { layout: layoutOf(2, 5), seed: 2 };
  for (const [id, { layout, seed }] of Object.entries({ one, two })) {
    await publishTinyAdapter(store, id, { layout, matrices: matricesOf(layout, seed) });
  }
  const near = (found: number, wanted: number, what: string) =>
    t.ok(Math.abs(found - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted)), `${what}: ${found}, ${wanted}`);

  const [p, q] = [one, two].map(({ layout, seed }) => changesOf(layout, matricesOf(layout, seed)));
  const { modules, total, other } = (await app.inject('/adapters/one/norms?other=two')).json();
  t.strictSame(Object.keys(modules).sort(), [...p!.keys()].sort());
  for (const [path, change] of p!) near(modules[path], norm(change), path);
  const [all, others] = [p!, q!].map((changes) => [...changes].sort().flatMap(([, change]) => change));
  near(total, norm(all!), 'total');
  near(other.total, norm(others!), 'total of the other');
  near(other.distance, norm(all!.map((value, index) => value - others![index]!)), 'distance');
  const product = all!.reduce((sum, value, index) => sum + value * others![index]!, 0);
  near(other.cosine, product / (norm(all!) * norm(others!)), 'cosine');

  const alone = (await app.inject('/adapters/two/norms')).json();
  near(alone.total, norm(others!), 'asked for alone');
  t.equal(alone.other, undefined);
});

test('an adapter that changes nothing, itself, and one of another shape', async (t) => {
  const { app, store } = await startApi(t, { work: false });
  const layout = layoutOf(4, 8);
  const matrices = matricesOf(layout, 1);
  await publishTinyAdapter(store, 'one', { layout, matrices });
  await publishTinyAdapter(store, 'none', {
    layout,
    matrices: matrices.map(({ length }) => new Float32Array(length)),
  });
  const wide = layoutOf(4, 8, 12);
  await publishTinyAdapter(store, 'wide', { layout: wide, matrices: matricesOf(wide, 1) });
  const ask = async (path: string) => (await app.inject(path)).json();
  const same = await ask('/adapters/one/norms?other=one');
  t.ok(same.other.distance < 1e-6 * same.total, String(same.other.distance));
  t.ok(Math.abs(same.other.cosine - 1) < 1e-12);
  t.match(await ask('/adapters/none/norms?other=one'), {
    total: 0,
    other: { cosine: 0, distance: same.total },
  });
  t.match(await ask('/adapters/one/norms?other=wide'), { code: 'transform-unfit' });
});
