import { test } from 'tap';
import { MAX_ARGS_BYTES, parseTrainingArgs } from '../../../../src/models/import/t2l/training-args.ts';
import { findVariant } from '../../../../src/models/import/t2l/variant.ts';

/** As `yaml.dump(vars(args))` writes it, with the parts that count in among others. */
const PUBLISHED = `
additional_eval_descs:
- dogs;cats;bananas;
- 7@9.qwepra#/.sd,s'2OC^039u#rdagjbL
autoreg_gen: false
delta_w_scaling: 10000
emb_model: Alibaba-NLP/gte-large-en-v1.5
encoder_type: linear
eval_ds_info:
  arc_challenge: &id001
    descriptions:
    - Answer the question.
    ds_kwargs: null
  boolq: *id001
exp_setup: hyper_lora
factorized: false
head_in_size: 2048
hypernet_latent_size: 512
lr: 2.5e-05
model_dir: google/gemma-2-2b-it
mt_lora_path: null
pred_z_score: true
save_dir: train_outputs/sft/hyper_lora/20250101-000000_a
shared_AB_head: false
target_modules:
- q_proj
- v_proj
training_task: sft
use_one_hot_task_emb: false
`;

test('the arguments of a published checkpoint', (t) => {
  t.same(parseTrainingArgs(PUBLISHED), {
    autoreg_gen: false,
    delta_w_scaling: 10_000,
    emb_model: 'Alibaba-NLP/gte-large-en-v1.5',
    encoder_type: 'linear',
    exp_setup: 'hyper_lora',
    factorized: false,
    head_in_size: 2048,
    hypernet_latent_size: 512,
    model_dir: 'google/gemma-2-2b-it',
    pred_z_score: true,
    shared_AB_head: false,
    target_modules: ['q_proj', 'v_proj'],
    training_task: 'sft',
    use_one_hot_task_emb: false,
  });
  t.end();
});

test('tags of Python are passed over, and nothing of them is built', (t) => {
  const args = parseTrainingArgs(`!!python/object:argparse.Namespace
training_task: !!python/object/apply:hyper_llm_modulator.configs.Task
- recon
target_modules: !!python/tuple
- &q q_proj
- v_proj
model_dir: !!python/object/apply:pathlib.PosixPath
- base
emb_model: &name gte
exp_setup: *q
mt_lora_path: ''
pred_z_score: no
use_one_hot_task_emb: !!bool 'false'
save_dir: !!python/object/apply:os.system ['touch pwned']
`);
  t.same(args, {
    training_task: 'recon',
    target_modules: ['q_proj', 'v_proj'],
    model_dir: 'base',
    emb_model: 'gte',
    exp_setup: 'q_proj',
    pred_z_score: false,
    use_one_hot_task_emb: false,
  });
  const set = parseTrainingArgs('target_modules: !!set\n  v_proj: null\n  q_proj: null\n');
  t.same(set, { target_modules: ['v_proj', 'q_proj'] });
  t.end();
});

test('what is no arguments, and what has another type, is refused by name', (t) => {
  const refused = (text: string, message: RegExp) =>
    t.throws(() => parseTrainingArgs(text), { code: 'checkpoint-invalid', message });
  refused('a: [1\nb: 2', /args\.yaml is not YAML \(at character \d+\)/);
  refused('- 1\n- 2\n', /holds no arguments/);
  refused('', /holds no arguments/);
  refused('training_task: dpo', /training_task/);
  refused('shared_AB_head: perhaps', /shared_AB_head/);
  refused('delta_w_scaling: -1', /delta_w_scaling/);
  refused('hypernet_latent_size: 1e9', /hypernet_latent_size/);
  refused(`target_modules: [${'q_proj, '.repeat(100)}]`, /target_modules/);
  refused('target_modules: [[q_proj]]', /target_modules/);
  refused(`a: ${'['.repeat(20_000)}`, /nested too deeply|not YAML/);
  refused('training_task: sft\ntraining_task: recon', /is not YAML/);
  t.end();
});

test('aliases that multiply are never expanded', (t) => {
  const levels = Array.from({ length: 30 }, (_, level) => {
    const inner = level === 0 ? 'x' : `*a${level - 1}`;
    return `k${level}: &a${level} [${Array(10).fill(inner).join(', ')}]`;
  });
  const text = `${levels.join('\n')}\ntraining_task: sft\n`;
  const before = performance.now();
  t.same(parseTrainingArgs(text), { training_task: 'sft' });
  t.ok(performance.now() - before < 2000);
  t.ok(text.length < MAX_ARGS_BYTES);
  t.end();
});

test('variants', (t) => {
  const gte = { emb_model: 'gte' };
  t.same(findVariant(gte, []), { scale: { kind: 'direct' }, sharedHead: false, needsOffset: false });
  t.same(findVariant({ ...gte, training_task: 'sft', mt_lora_path: 'lora' }, []).needsOffset, true);
  t.same(findVariant({ ...gte, training_task: 'recon', factorized: true, pred_z_score: true }, []).scale, {
    kind: 'z-score',
  });
  t.same(findVariant({ ...gte, training_task: 'recon', pred_z_score: false }, []).scale, {
    kind: 'divided',
    by: 100,
  });
  // Without the argument, heads with a bias were not trained on standard scores.
  t.same(findVariant({ ...gte, training_task: 'recon', factorized: true }, ['heads.q_proj.bias']).scale, {
    kind: 'direct',
  });
  t.same(findVariant({ ...gte, training_task: 'recon', factorized: true }, []).scale, { kind: 'z-score' });
  t.same(findVariant(gte, ['out_emb.q_proj.A']).sharedHead, true);
  t.end();
});

test('variants that are not computed are refused by name', (t) => {
  const refused = (args: Parameters<typeof findVariant>[0], names: string[], message: RegExp) =>
    t.throws(() => findVariant({ emb_model: 'gte', ...args }, names), {
      code: 'checkpoint-invalid',
      message,
    });
  refused({ encoder_type: 'vq' }, [], /encoder_type "vq"/);
  refused({}, ['task_encoder.mlp.3.weight'], /encoder_type other than linear/);
  refused({ autoreg_gen: true }, [], /autoreg_gen/);
  refused({}, ['pos_emb.0.weight'], /autoreg_gen/);
  refused({ use_one_hot_task_emb: true }, [], /use_one_hot_task_emb/);
  refused({ exp_setup: 'hyper_vera' }, [], /VeRA/);
  refused({ training_task: 'recon', pred_z_score: true }, [], /pred_z_score without factorized/);
  refused({ emb_model: 'Salesforce/SFR-Embedding-2_R' }, [], /SFR/);
  refused({ emb_model: 'BAAI/bge-m3' }, [], /no gte encoder/);
  t.throws(() => findVariant({}, []), { code: 'checkpoint-invalid', message: /no emb_model/ });
  t.end();
});
