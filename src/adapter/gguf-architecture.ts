/** What llama.cpp makes of each architecture: its name in GGUF, the names of its modules, and the order of its rows. */
import { findHeadErrors } from '../lora/bases.ts';
import type { AttentionHeads, LoraModule, LoraTensor } from '../lora/layout.ts';
import { adapterErrors } from './errors.ts';

/** What has to be known of a base before its adapters can be written as GGUF. */
export type GgufTarget = {
  /** As bundles and `transformers` call it: `llama`, `qwen2_5_vl`. */
  readonly architecture: string;
  /** Its attention heads, which only some architectures need: see {@link reordersRows}. */
  readonly heads?: AttentionHeads;
};

/** The GGUF names of the linear modules of a layer; the same for every architecture of {@link ARCHITECTURES}. */
const MODULES: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

type Architecture = {
  /** GGUF's name of it. */
  readonly name: string;
  /**
   * Whether llama.cpp's converter reorders the rows of q and k: llama.cpp turns neighbouring numbers of a Llama head
   * together, where transformers turns number j and number j + half of the head.
   */
  readonly reorders: boolean;
};

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { name: 'llama', reorders: true },
  mistral: { name: 'llama', reorders: true },
  qwen2: { name: 'qwen2', reorders: false },
  qwen2_vl: { name: 'qwen2vl', reorders: false },
  qwen2_5_vl: { name: 'qwen2vl', reorders: false },
  gemma2: { name: 'gemma2', reorders: false },
};

/** The architectures whose adapters can be written as GGUF. */
export const GGUF_ARCHITECTURES: readonly string[] = Object.keys(ARCHITECTURES);

/** Errors: `gguf-unsupported` for an architecture that is not in {@link GGUF_ARCHITECTURES}. */
export function findArchitecture(architecture: string): Architecture {
  const found = Object.hasOwn(ARCHITECTURES, architecture) ? ARCHITECTURES[architecture] : undefined;
  if (!found) {
    throw adapterErrors.ggufUnsupported(
      `Adapters for the architecture ${architecture} cannot be written as GGUF; ${GGUF_ARCHITECTURES.join(', ')} can.`,
    );
  }
  return found;
}

/** Whether GGUF has the rows of q and k in another order than PEFT, for which the number of heads must be known. */
export function reordersRows(architecture: string): boolean {
  return findArchitecture(architecture).reorders;
}

/** GGUF's name of a linear module. Errors: `gguf-unsupported`. */
export function ggufModuleName(path: string): string {
  const name = Object.hasOwn(MODULES, path) ? MODULES[path] : undefined;
  if (!name) throw adapterErrors.ggufUnsupported(`GGUF has no name for the module ${path}.`);
  return name;
}

/** A LoRA matrix as far as GGUF is concerned. */
export type GgufTensor = Pick<LoraTensor, 'name' | 'layer' | 'side' | 'shape'> & {
  readonly module: Pick<LoraModule, 'path'>;
};

/** `blk.0.attn_q.weight.lora_a` for a LoRA matrix. Errors: `gguf-unsupported`. */
export function ggufTensorName({ layer, module, side }: GgufTensor): string {
  return `blk.${layer}.${ggufModuleName(module.path)}.weight.lora_${side.toLowerCase()}`;
}

/**
 * Refuses a base whose adapters with these modules cannot become GGUF. Errors: `gguf-unsupported` for the architecture or a
 * module, `gguf-heads-unknown`, `adapter-mismatch` for heads that do not fit the modules.
 */
export function checkGgufTarget({ architecture, heads }: GgufTarget, modules: readonly LoraModule[]): void {
  const names = modules.map(({ path }) => ggufModuleName(path));
  if (!reordersRows(architecture) || !names.some((name) => name === 'attn_q' || name === 'attn_k')) return;
  if (!heads) {
    throw adapterErrors.headsUnknown(
      `GGUF has the rows of ${architecture} adapters in another order, head by head, and nobody has told how many heads the base has.`,
    );
  }
  const wrong = findHeadErrors(modules, heads);
  if (wrong.length > 0) throw adapterErrors.mismatch(`The heads do not fit: ${wrong.join('; ')}.`);
}

/** True where enough is known of the base for {@link checkGgufTarget}, whatever the modules are. */
export function canBeGguf({ architecture, heads }: GgufTarget): boolean {
  return Object.hasOwn(ARCHITECTURES, architecture) && (!reordersRows(architecture) || heads !== undefined);
}
