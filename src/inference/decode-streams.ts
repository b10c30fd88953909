/** The finished decodes of one engine that are being read, or wait to be. */
import { createDecodeStream, type DecodeStream } from './decode-stream.ts';
import type { TokenBlock } from './engine.ts';
import type { ToChild } from './protocol.ts';

/** The open {@link DecodeStream}s of an engine, by request. */
export type DecodeStreams = {
  /** Opens the stream of a request that the child has decoded. */
  open(id: number, decode: { blocks: readonly TokenBlock[]; tokenFloats: number }): DecodeStream;
  /** Hands the next chunk to the request's stream, if it is still open. */
  push(id: number, values: Float32Array): void;
  /** The child is gone: readers that do not have all they need get this error. */
  failAll(error: unknown): void;
};

/** Makes an empty {@link DecodeStreams}; `onRead` is called when a stream was read to its end or given up. */
export function createDecodeStreams(options: {
  send: (message: ToChild) => void;
  onRead: (id: number) => void;
}): DecodeStreams {
  const { send, onRead } = options;
  const streams = new Map<number, DecodeStream>();
  return {
    open(id, decode) {
      const stream = createDecodeStream({
        ...decode,
        pull(chunks) {
          // The child that had the rest of a failed stream is gone; the next one knows nothing of it.
          if (streams.has(id)) send({ type: 'pull', id, chunks });
        },
        end() {
          if (!streams.delete(id)) return;
          send({ type: 'release', id });
          onRead(id);
        },
      });
      streams.set(id, stream);
      return stream;
    },
    push: (id, values) => streams.get(id)?.push(values),
    failAll(error) {
      for (const stream of streams.values()) stream.fail(error);
      streams.clear();
    },
  };
}
