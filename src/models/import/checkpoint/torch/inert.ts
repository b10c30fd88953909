/** Globals of a pickle that stand for no tensor: those that training leaves beside the weights, and why others are refused. */

/** A value whose class is known to be bookkeeping. It is nothing but its class's name, and no code of it runs. */
export type Inert = { readonly kind: 'inert'; readonly name: string };

/**
 * What training code keeps beside weights. Only names from here are passed over; anything else could be meant to run.
 */
const BOOKKEEPING: readonly RegExp[] = [
  // Plain values of Python that have no form of their own in a pickle.
  /^(?:builtins|__builtin__)\.(?:set|frozenset|bytearray|complex|slice|range|dict|list|int|float|str|bool|long|unicode)$/,
  /^(?:_codecs\.encode|collections\.(?:deque|Counter|defaultdict)|uuid\.UUID|decimal\.Decimal|datetime\.\w+)$/,
  /^pathlib\.(?:_local\.)?(?:Pure)?(?:Posix|Windows)?Path$/,
  // Settings.
  /^(?:argparse\.Namespace|easydict\.EasyDict|addict\.addict\.Dict|(?:omegaconf|ml_collections)\.[\w.]+)$/,
  /^(?:pytorch_lightning|lightning|lightning_fabric)\.[\w.]*\.AttributeDict$/,
  /^transformers\.[\w.]*(?:TrainingArguments|Strategy|OptimizerNames|SchedulerType|TrainerState)$/,
  // Numbers and random states of NumPy.
  /^numpy(?:\._?core)?(?:\.(?:multiarray|numeric))?\.(?:_reconstruct|scalar|ndarray|dtype|_frombuffer|(?:u?int|float|bool)\d*_?)$/,
  /^numpy\.(?:dtypes|random\.(?:_pickle|mtrand|_mt19937|_pcg64|bit_generator))\.\w+$/,
  // Tensors in formats that no weight of a decoder has, and facts about tensors.
  /^torch\._utils\._rebuild_(?:tensor_v3|qtensor|sparse_tensor|sparse_csr_tensor|nested_tensor|meta_tensor_no_storage)$/,
  /^torch\.(?:complex\d+|uint\d+|float8_\w+|q(?:u?)int\d\w*|per_(?:tensor|channel)_\w+)$/,
  /^torch\.(?:Tensor|nn\.parameter\.(?:Parameter|Buffer)|device|layout|strided|memory_format|torch_version\.TorchVersion|serialization\._get_layout)$/,
];

const inert = new Map<string, Inert>();

/** The value that stands for a global of training's bookkeeping, or undefined for any other global. */
export function inertGlobal(name: string): Inert | undefined {
  if (!BOOKKEEPING.some((pattern) => pattern.test(name))) return undefined;
  const known = inert.get(name);
  if (known) return known;
  const made: Inert = { kind: 'inert', name };
  inert.set(name, made);
  return made;
}

/** True for a value that {@link inertGlobal} made. */
export function isInert(value: unknown): value is Inert {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'inert';
}

const SAVE = 'A file of the state dict alone can be imported: torch.save(model.state_dict(), …)';

/** Why a global cannot be taken and what to do, as the end of a sentence that begins with its name. */
export function reasonAgainst(name: string): string {
  if (/^torch\.distributed\.|\b(?:ShardedTensor|DTensor)\b/.test(name)) {
    return 'a shard of a checkpoint that several processes wrote (FSDP). Gather the full state dict first, and save it with torch.save';
  }
  if (/^(?:bitsandbytes|torchao|quanto|optimum\.quanto|auto_gptq|awq)\./.test(name)) {
    return 'a quantised weight. Save the weights in f32, f16 or bf16';
  }
  if (/^torch\.nn\.|\.[A-Z]\w*$/.test(name)) {
    return `which is no tensor and no plain container but a class: the file holds a whole module or object; nothing of it was run. ${SAVE}`;
  }
  return `which is no tensor and no plain container; nothing of it was run. ${SAVE}`;
}
