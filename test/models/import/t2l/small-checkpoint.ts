/** Small Text-to-LoRA checkpoints with random numbers, of every variant that is imported. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import type { Numbers } from '../../reference-decoder.ts';
import type { ReferenceHypernetwork } from './reference-hypernetwork.ts';
import { torchFile } from './write-torch.ts';

/** Sizes that are all different, so that no two axes can be taken for each other. */
export const SIZES = { width: 24, layers: 3, rank: 4, latent: 16, headIn: 20 } as const;
/** Widths of the base's modules, wider in than out and the other way round. */
export const WIDTHS = { q_proj: { in: 12, out: 18 }, v_proj: { in: 12, out: 6 } } as const;

/** A variant: what its `args.yaml` says, and what the reference computes for it. */
export type Variant = {
  readonly args: Readonly<Record<string, unknown>>;
  readonly reference: Omit<ReferenceHypernetwork, 'tensors' | 'layers' | 'rank' | 'modules'>;
  readonly bias: boolean;
};

/** Every supported variant by its name. */
export const VARIANTS: Readonly<Record<string, Variant>> = {
  sft: { args: { training_task: 'sft', pred_z_score: true }, reference: { task: 'sft' }, bias: true },
  'sft on a multi-task LoRA': {
    args: { training_task: 'sft', mt_lora_path: 'train_outputs/mt_lora' },
    reference: { task: 'sft' },
    bias: false,
  },
  'sft, shared head': {
    args: { training_task: 'sft', shared_AB_head: true },
    reference: { task: 'sft', shared: true },
    bias: true,
  },
  'recon, standard scores': {
    args: { training_task: 'recon', factorized: true, pred_z_score: true },
    reference: { task: 'recon', factorized: true, scores: true },
    bias: false,
  },
  'recon, factorized': {
    args: { training_task: 'recon', factorized: true, pred_z_score: false },
    reference: { task: 'recon', factorized: true },
    bias: true,
  },
  'recon, products': {
    args: { training_task: 'recon', pred_z_score: false, delta_w_scaling: 2500 },
    reference: { task: 'recon', scaling: 2500 },
    bias: true,
  },
  'recon, shared head, standard scores': {
    args: { training_task: 'recon', factorized: true, pred_z_score: true, shared_AB_head: true },
    reference: { task: 'recon', factorized: true, scores: true, shared: true },
    bias: false,
  },
};

type ModuleName = keyof typeof WIDTHS;

/** The state dict of a variant, its heads in this order, with what the reference needs of it. */
export function smallHypernetwork(
  { reference, bias }: Variant,
  order: readonly ModuleName[] = ['q_proj', 'v_proj'],
  seed = 3,
): ReferenceHypernetwork {
  const { width, layers, rank, latent, headIn } = SIZES;
  const random = seededRandom(seed);
  const tensors = new Map<string, Numbers>();
  const add = (name: string, shape: readonly number[], deviation: number, mean = 0) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b));
    fillUniform(random, values, deviation);
    tensors.set(name, { shape, values: values.map((value) => value + mean) });
  };
  const linear = (name: string, from: number, to: number) => {
    add(`${name}.weight`, [to, from], 1.4 / Math.sqrt(from));
    add(`${name}.bias`, [to], 0.2);
  };
  const norm = (name: string, side: number) => {
    add(`${name}.weight`, [side], 0.2, 1);
    add(`${name}.bias`, [side], 0.2);
  };
  const stacks = (name: string, deviation: number, mean = 0) => {
    // PyTorch's ParameterDict sorts plain dicts, so that statistics stand in the order of names.
    for (const side of ['A', 'B'] as const) {
      for (const module of [...order].sort()) {
        const { in: columns, out } = WIDTHS[module];
        const shape = side === 'A' ? [layers, rank, columns] : [layers, out, rank];
        add(`${name}.${side}.${module}`, shape, deviation, mean);
      }
    }
  };
  stacks('AB_offset', reference.task === 'sft' && !bias ? 0.05 : 0);
  stacks('mean_recon_target', reference.scores ? 0.02 : 0);
  stacks('std_recon_target', reference.scores ? 0.002 : 0, reference.scores ? 0.01 : 0);
  linear('task_encoder.mlp.0', width, latent / 2);
  norm('task_encoder.mlp.1', latent / 2);
  add('layer_depth_encoder.0.weight', [layers, latent / 4], 1);
  norm('layer_depth_encoder.1', latent / 4);
  add('layer_type_encoder.0.weight', [order.length, latent / 4], 1);
  norm('layer_type_encoder.1', latent / 4);
  for (const block of ['mixer', 'mlp1.mlp', 'mlp2.mlp', 'mlp3']) {
    if (block !== 'mixer') norm(`${block}.0`, latent);
    linear(`${block}.1`, latent, 4 * latent);
    linear(`${block}.4`, 4 * latent, block === 'mlp3' ? headIn : latent);
  }
  if (reference.shared) {
    for (const module of order) for (const side of ['A', 'B']) add(`out_emb.${module}.${side}`, [latent], 1);
    norm('out_emb_norm', latent);
  }
  for (const module of order) {
    const { in: columns, out } = WIDTHS[module];
    linear(`heads.${module}`, headIn, rank * (reference.shared ? Math.max(columns, out) : columns + out));
    if (!bias) tensors.delete(`heads.${module}.bias`);
  }
  const modules = order.map((name) => ({ name, ...WIDTHS[name] }));
  return { ...reference, tensors, layers, rank, modules };
}

/** `adapter_config.json` of such a checkpoint, as PEFT writes it. */
export const ADAPTER_CONFIG = {
  alpha_pattern: {},
  auto_mapping: null,
  base_model_name_or_path: 'example/tiny',
  bias: 'none',
  fan_in_fan_out: false,
  inference_mode: true,
  layers_to_transform: null,
  lora_alpha: 8,
  lora_dropout: 0.05,
  modules_to_save: null,
  peft_type: 'LORA',
  r: SIZES.rank,
  rank_pattern: {},
  target_modules: ['v_proj', 'q_proj'],
  task_type: 'CAUSAL_LM',
  use_dora: false,
  use_rslora: true,
};

/** The arguments that every variant shares. */
export const ARGS = {
  model_dir: 'example/tiny',
  emb_model: 'Alibaba-NLP/gte-large-en-v1.5',
  exp_setup: 'hyper_lora',
  encoder_type: 'linear',
  hypernet_latent_size: SIZES.latent,
  head_in_size: SIZES.headIn,
  mt_lora_path: null,
  use_one_hot_task_emb: false,
  target_modules: ['q_proj', 'v_proj'],
};

/** Writes a checkpoint directory. */
export async function writeT2lCheckpoint(
  directory: string,
  tensors: ReadonlyMap<string, Numbers>,
  args: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>> = ADAPTER_CONFIG,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  // JSON is YAML.
  await writeFile(join(directory, 'args.yaml'), JSON.stringify({ ...ARGS, ...args }));
  await writeFile(join(directory, 'adapter_config.json'), JSON.stringify(config));
  await writeFile(join(directory, 'hypermod.pt'), torchFile(tensors));
}
