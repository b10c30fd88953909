/** A PEFT adapter as it is read, wherever its files lie. */

/** An adapter's `adapter_config.json`, and the size of its `adapter_model.safetensors`. */
export type PeftFacts = { readonly config: Uint8Array; readonly weightBytes: number };
/** An adapter whose weights can be opened more than once. */
export type PeftFiles = PeftFacts & { openWeights(): Promise<AsyncIterable<Uint8Array>> };
