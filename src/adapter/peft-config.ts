/** `adapter_config.json` for PEFT. */
import { LAYER_PATH } from '../lora/bases.ts';
import type { LoraLayout } from '../lora/layout.ts';

/**
 * The complete configuration for an adapter of this layout, as indented JSON with sorted keys, the same bytes every time.
 * It has the fields that every PEFT since 0.10 knows: that version refuses the ones invented later, and newer ones, vLLM
 * and SGLang take the defaults for what is absent. `base.id` becomes `base_model_name_or_path`. Where the layers are only a
 * part of the base (`model.language_model.layers`), the targets are full paths (spec §3.5): a vision tower has modules of the
 * same short names.
 */
export function peftConfig(base: { readonly id: string }, layout: LoraLayout): Uint8Array<ArrayBuffer> {
  const config = {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: base.id,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: layout.alpha,
    lora_dropout: 0,
    megatron_config: null,
    megatron_core: 'megatron.core',
    modules_to_save: null,
    peft_type: 'LORA',
    r: layout.rank,
    rank_pattern: {},
    revision: null,
    target_modules: targetModules(layout),
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: layout.rsLora ?? false,
  };
  return new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`);
}

function targetModules({ layerPath, layers, modules }: LoraLayout): string[] {
  if (layerPath === LAYER_PATH) return modules.map(({ path }) => path.slice(path.lastIndexOf('.') + 1));
  return Array.from({ length: layers }, (_, layer) =>
    modules.map(({ path }) => `${layerPath}.${layer}.${path}`),
  ).flat();
}
