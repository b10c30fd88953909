/** Rounding of LoRA matrices to the number format of an adapter's file, by ONNX Runtime on all of its threads. */
import { allFinite, DTYPE_BYTES, type Dtype } from '../base/dtype.ts';
import { createGraphBuilder } from '../onnx/graph-builder.ts';
import { ELEMENT_TYPES } from '../onnx/schema.ts';
import { InferenceSession, Tensor } from './onnx-runtime.ts';
import { runSessionInto } from './session.ts';

/** Rounds numbers; its memory is used again by the next call. */
export type Rounding = (values: Float32Array, dtype: Dtype) => Promise<Rounded>;

/** The little-endian bytes of rounded numbers, and whether all of them are finite. */
export type Rounded = { readonly bytes: Uint8Array; readonly finite: boolean };

/** How element types of ONNX are called that a file's numbers have. */
const NARROW = { bf16: 'bfloat16', f16: 'float16' } as const;

/** First operator set with BitCast. */
const OPSET = 26;

/**
 * Makes a {@link Rounding}. To nearest, ties to even; what is beyond a format's range becomes infinite, which shows in
 * `finite`. JavaScript takes two to three times as long as a graph on two threads.
 */
export function createRounding({ threads }: { threads: number }): Rounding {
  const sessions = new Map<Dtype, Promise<InferenceSession>>();
  let bits = new Uint16Array(0);
  return async (values, dtype) => {
    if (dtype === 'f32') {
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      return { bytes, finite: allFinite(words, dtype) };
    }
    const session = sessions.get(dtype) ?? openRounding(dtype, threads);
    sessions.set(dtype, session);
    if (bits.length < values.length) bits = new Uint16Array(values.length);
    const own = bits.subarray(0, values.length);
    const sides = [values.length];
    await runSessionInto(
      await session,
      { x: new Tensor('float32', values, sides) },
      { file: `rounding to ${dtype}`, outputs: { bits: new Tensor('uint16', own, sides) } },
    );
    const bytes = new Uint8Array(own.buffer, 0, values.length * DTYPE_BYTES[dtype]);
    return { bytes, finite: allFinite(own, dtype) };
  };
}

/** `x` `[n]` float32 → `bits` `[n]` uint16: the binding has no bfloat16. */
function openRounding(dtype: keyof typeof NARROW, threads: number): Promise<InferenceSession> {
  const graph = createGraphBuilder('rounding', { opset: OPSET });
  const x = graph.input('x', 'float32', ['n']);
  const narrow = graph.node('narrow', 'Cast', [x], { to: { int: ELEMENT_TYPES[NARROW[dtype]] } });
  graph.output(graph.node('bits', 'BitCast', [narrow], { to: { int: ELEMENT_TYPES.uint16 } }), 'uint16', [
    'n',
  ]);
  return InferenceSession.create(graph.encode(), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    enableCpuMemArena: false,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
    logSeverityLevel: 4,
  });
}
