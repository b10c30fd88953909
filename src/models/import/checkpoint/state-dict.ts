/** One tensor of a state dict. */
export type StateDictEntry = {
  /** Name as training code gives it, wrappers such as `module.` and the keys of the dicts around it included. */
  readonly name: string;
  /** The part of the name that leads to the dict which holds it; empty or absent for the outermost. */
  readonly dict?: string;
  /** Number format as safetensors spells it. */
  readonly dtype: string;
  readonly shape: readonly number[];
};

/**
 * Named tensors of a checkpoint, wherever they come from. The importer asks for shapes first and then streams each weight
 * once, so a source never needs to hold more than a chunk.
 */
export type StateDict = {
  readonly entries: readonly StateDictEntry[];
  /** Names of what stands beside tensors and is none: `epoch`, `optimizer.param_groups.0.lr`. */
  readonly others?: readonly string[];
  /** The tensor's numbers in row-major order as float32, in chunks of any length. */
  stream(name: string, options?: { signal?: AbortSignal }): AsyncIterable<Float32Array>;
  close(): Promise<void>;
};
