/** What llama.cpp says of tokens, through node-llama-cpp: log-probabilities of the whole vocabulary. */
import { getLlama, LlamaLogLevel, type LlamaModel, type Token } from 'node-llama-cpp';

/** A base that is loaded. Disposing of it frees it. */
export type LlamaBase = AsyncDisposable & {
  /** A row of log-probabilities for each position, with a GGUF adapter where one is named. */
  logProbabilities(tokens: readonly number[], adapter?: string): Promise<Float64Array[]>;
};

/** Loads a base in GGUF. Keys and values are kept in float32, so that nothing is rounded but what the files have rounded. */
export async function openLlamaBase(path: string): Promise<LlamaBase> {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled,
    maxThreads: 1,
  });
  const model = await llama.loadModel({ modelPath: path });
  return {
    logProbabilities: (tokens, adapter) => evaluate(model, tokens, adapter),
    [Symbol.asyncDispose]: () => llama.dispose(),
  };
}

async function evaluate(model: LlamaModel, tokens: readonly number[], adapter: string | undefined) {
  const context = await model.createContext({
    sequences: 1,
    contextSize: tokens.length + 8,
    batchSize: tokens.length,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
    ...(adapter !== undefined && { lora: adapter }),
  });
  try {
    const outcomes = await context
      .getSequence()
      .controlledEvaluate(tokens.map((token) => [token as Token, { generateNext: { probabilities: true } }]));
    return outcomes.map((outcome) => {
      const row = new Float64Array(outcome!.next.probabilities!.size);
      for (const [token, probability] of outcome!.next.probabilities!) row[token] = Math.log(probability);
      return row;
    });
  } finally {
    await context.dispose();
  }
}
