import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { parseT2lAdapterConfig } from '../../../../src/models/import/t2l/adapter-config.ts';
import { findT2lFiles } from '../../../../src/models/import/t2l/find-files.ts';
import {
  findHypernetwork,
  headMultiplyAdds,
  hypernetworkParameters,
  trunkMultiplyAdds,
} from '../../../../src/models/import/t2l/hypernetwork.ts';
import type { Numbers } from '../../reference-decoder.ts';
import {
  ADAPTER_CONFIG,
  SIZES,
  smallHypernetwork,
  VARIANTS,
  WIDTHS,
  writeT2lCheckpoint,
} from './small-checkpoint.ts';

/** Finds the hypernetwork of a variant whose tensors were changed. */
function find(
  change: (tensors: Map<string, Numbers>) => void = () => {},
  {
    variant = 'sft',
    ...expected
  }: { variant?: string } & Partial<Parameters<typeof findHypernetwork>[1]> = {},
) {
  const { args } = VARIANTS[variant]!;
  const tensors = new Map(smallHypernetwork(VARIANTS[variant]!).tensors);
  change(tensors);
  const entries = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' }));
  return findHypernetwork(entries, {
    args: { emb_model: 'gte', ...args },
    rank: SIZES.rank,
    layers: SIZES.layers,
    targets: ['v_proj', 'q_proj'],
    widthsOf: (name) => WIDTHS[name as keyof typeof WIDTHS],
    ...expected,
  });
}

test('sizes and modules are told by the tensors', (t) => {
  const { hypernetwork } = find();
  t.match(hypernetwork, {
    width: SIZES.width,
    layers: SIZES.layers,
    rank: SIZES.rank,
    parts: [8, 4, 4],
    inner: { mixer: 64, mlp1: 64, mlp2: 64, mlp3: 64 },
    headIn: SIZES.headIn,
    modules: [{ name: 'q_proj' }, { name: 'v_proj' }],
    headBias: true,
    sharedHead: false,
  });
  const { tensors } = smallHypernetwork(VARIANTS['sft']!);
  const used = [...tensors].filter(([name]) => !/recon_target/.test(name));
  t.equal(
    hypernetworkParameters(hypernetwork),
    used.reduce((sum, [, { values }]) => sum + values.length, 0),
  );
  const rows = SIZES.layers * 2;
  const blocks = rows * (2 * 16 * 3 * 64 + 64 * (16 + 20));
  t.equal(trunkMultiplyAdds(hypernetwork), 24 * 8 + blocks);
  t.equal(headMultiplyAdds(hypernetwork), SIZES.layers * 20 * 4 * (30 + 18));
  t.same(find(undefined, { moduleOrder: ['v_proj', 'q_proj'] }).hypernetwork.modules[0]!.name, 'v_proj');
  t.end();
});

test('wrappers in front of names, and statistics that a variant does not use', (t) => {
  const { names, hypernetwork } = find((tensors) => {
    for (const [name, tensor] of [...tensors]) {
      tensors.delete(name);
      tensors.set(`module._orig_mod.${name}`, tensor);
    }
  });
  t.equal(names.get('mlp3.0.weight'), 'module._orig_mod.mlp3.0.weight');
  t.equal(names.has('mean_recon_target.A.q_proj'), false);
  t.equal(hypernetwork.offset, true);
  const older = find((tensors) => {
    for (const name of [...tensors.keys()]) if (/^AB_offset|recon_target/.test(name)) tensors.delete(name);
  });
  t.equal(older.hypernetwork.offset, false, 'an offset that was not saved is none');
  t.end();
});

test('what does not fit is refused by the name of the tensor', (t) => {
  const refused = (
    message: RegExp,
    change?: (tensors: Map<string, Numbers>) => void,
    expected?: Parameters<typeof find>[1],
  ) => t.throws(() => find(change, expected), { code: 'checkpoint-invalid', message });
  const reshape = (name: string, shape: readonly number[]) => (tensors: Map<string, Numbers>) => {
    tensors.set(name, { shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  };
  refused(/no tensor mixer\.1\.weight/, (tensors) => tensors.delete('mixer.1.weight'));
  refused(/no tensor mlp2\.mlp\.0\.bias/, (tensors) => tensors.delete('mlp2.mlp.0.bias'));
  refused(/no tensor heads\.v_proj\.bias/, (tensors) => tensors.delete('heads.v_proj.bias'));
  refused(/task_encoder\.mlp\.0\.weight has the shape/, reshape('task_encoder.mlp.0.weight', [8]));
  refused(
    /heads\.q_proj\.weight has the shape \[1, 20\]; \[120, 20\]/,
    reshape('heads.q_proj.weight', [1, 20]),
  );
  refused(/layer_type_encoder\.0\.weight has the shape/, reshape('layer_type_encoder.0.weight', [3, 4]));
  refused(/no supported .* variant uses: "extra\.weight"/, reshape('extra.weight', [2]));
  refused(/is there twice/, reshape('module.mlp3.0.weight', [16]));
  refused(/is for 3 layers .*, the base has 5/, undefined, { layers: 5 });
  refused(/heads\.q_proj\.weight has the shape/, undefined, { rank: 8 });
  refused(/heads for q_proj, v_proj, and its adapter_config\.json targets k_proj/, undefined, {
    targets: ['k_proj'],
  });
  refused(/module order names o_proj/, undefined, { moduleOrder: ['o_proj'] });
  refused(/another head_in_size/, undefined, { args: { emb_model: 'gte', head_in_size: 7 } });
  refused(/another hypernet_latent_size/, undefined, {
    args: { emb_model: 'gte', hypernet_latent_size: 128 },
  });
  refused(/no head of a module/, (tensors) => {
    for (const name of [...tensors.keys()]) if (name.startsWith('heads.')) tensors.delete(name);
  });
  const mtLora = { variant: 'sft on a multi-task LoRA' };
  refused(
    /AB_offset is missing/,
    (tensors) => {
      for (const name of [...tensors.keys()]) if (name.startsWith('AB_offset')) tensors.delete(name);
    },
    mtLora,
  );
  refused(/no tensor std_recon_target\.B\.v_proj/, (tensors) => tensors.delete('std_recon_target.B.v_proj'), {
    variant: 'recon, standard scores',
  });
  t.end();
});

test('adapter_config.json', (t) => {
  const parse = (change: object) => parseT2lAdapterConfig(JSON.stringify({ ...ADAPTER_CONFIG, ...change }));
  t.match(parse({ base_model_name_or_path: null, use_rslora: null }), { r: 4, lora_alpha: 8 });
  const refused = (change: object, message: RegExp) =>
    t.throws(() => parse(change), { code: 'checkpoint-invalid', message });
  refused({ peft_type: 'VERA' }, /peft_type/);
  refused({ r: 0 }, /\/r/);
  refused({ target_modules: 'all-linear' }, /target_modules/);
  refused({ use_dora: true }, /use_dora/);
  refused({ rank_pattern: { q_proj: 2 } }, /rank_pattern/);
  t.throws(() => parseT2lAdapterConfig('{'), { code: 'checkpoint-invalid', message: /not JSON/ });
  t.end();
});

test('which paths are checkpoints of this family', async (t) => {
  const root = t.testdir({});
  const directory = join(root, 't2l');
  await writeT2lCheckpoint(directory, smallHypernetwork(VARIANTS['sft']!).tensors, {});
  const own = {
    hypernetwork: join(directory, 'hypermod.pt'),
    args: join(directory, 'args.yaml'),
    config: join(directory, 'adapter_config.json'),
  };
  t.same(await findT2lFiles(directory), own);
  t.same(await findT2lFiles(own.hypernetwork), own);
  t.equal(await findT2lFiles(root), undefined);
  t.equal(await findT2lFiles(own.args), undefined);

  const step = join(directory, 'checkpoints', 'it_100');
  await mkdir(step, { recursive: true });
  await rename(own.hypernetwork, join(step, 'hypermod.pt'));
  t.same(await findT2lFiles(step), { ...own, hypernetwork: join(step, 'hypermod.pt') });
  await t.rejects(findT2lFiles(directory), {
    code: 'checkpoint-invalid',
    message: /Name a saved step: checkpoints\/it_100\/hypermod\.pt/,
  });
  await rm(own.config);
  await t.rejects(findT2lFiles(step), { code: 'checkpoint-invalid', message: /needs adapter_config\.json/ });
  await writeFile(join(root, 'hypermod.pt'), '');
  await t.rejects(findT2lFiles(root), { code: 'checkpoint-invalid', message: /needs args\.yaml/ });
});
