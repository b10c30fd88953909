/** The last step of a generator: its value → the bytes of an adapter's tensors, stack by stack. */
import type { Dtype } from '../base/dtype.ts';
import { loraErrors } from '../lora/errors.ts';
import type { LoraStack } from '../lora/layout.ts';
import { loraStacks, loraTensors } from '../lora/tensors.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Device } from './engine.ts';
import { type InferenceSession, Tensor } from './onnx-runtime.ts';
import type { Rounding } from './rounding.ts';
import { type HostTensor, openSession, runSessionInto } from './session.ts';

/** The loaded graphs of matrices of a bundle. */
export type Matrices = {
  /**
   * Hands the bytes of all tensors to `write`, in the order of the file; what it is given is used again afterwards. Errors:
   * `adapter-not-finite` naming the tensor, `inference-failed`, whatever `write` throws.
   */
  write(
    value: HostTensor,
    options: {
      readonly dtype: Dtype;
      readonly write: (bytes: Uint8Array) => void;
      /** Lets the process do other things; awaited before every graph. */
      readonly turn: () => Promise<void>;
    },
  ): Promise<void>;
};

/** Loads the graphs of matrices. Errors: `bundle-unloadable`. */
export async function openMatrices(bundle: Bundle, device: Device, round: Rounding): Promise<Matrices> {
  const { generator, layout } = bundle.manifest;
  const stacks = loraStacks(layout);
  const graphs: Graph[] = [];
  // Graphs give stacks in the order of the file, so those of one follow those of the one before.
  let first = 0;
  for (const { file } of generator.matrices) {
    // Constants of shapes stay on the host, whatever the device. The workspace of one graph is that of the next.
    const session = await openSession(bundle, file, device, { keepsWorkspace: false });
    const own = stacks.slice(first, first + session.outputNames.length);
    const numbers = own.reduce((sum, stack) => sum + numbersOf(stack), 0);
    graphs.push({ file, session, stacks: own, first, numbers });
    first += own.length;
  }
  // Room for the matrices of one graph, one after the other as in the file; used again by every run.
  let room: Float32Array | undefined;

  return {
    async write(value, { dtype, write, turn }) {
      room ??= new Float32Array(Math.max(...graphs.map(({ numbers }) => numbers)));
      for (const graph of graphs) {
        await turn();
        const { file, session, numbers } = graph;
        const outputs: Record<string, Tensor> = {};
        let from = 0;
        for (const stack of graph.stacks) {
          const part = room.subarray(from, from + numbersOf(stack));
          outputs[`${stack.module.path}.${stack.side}`] = new Tensor('float32', part, stack.shape);
          from += part.length;
        }
        const input = new Tensor('float32', value.data, value.dims);
        await runSessionInto(session, { [session.inputNames[0]!]: input }, { file, outputs });
        const values = room.subarray(0, numbers);
        const { bytes, finite } = await round(values, dtype);
        if (!finite) throw notFinite(bundle, graph, { values, dtype, bytes });
        write(bytes);
      }
    },
  };
}

type Graph = {
  readonly file: string;
  readonly session: InferenceSession;
  readonly stacks: readonly LoraStack[];
  /** Stacks before its own. */
  readonly first: number;
  readonly numbers: number;
};

const numbersOf = ({ shape }: LoraStack) => shape.reduce((a, b) => a * b);

/** The failure that names the first tensor with a number that is not finite, as it was or once it was rounded. */
function notFinite(
  { manifest: { layout } }: Bundle,
  graph: Graph,
  { values, dtype, bytes }: { values: Float32Array; dtype: Dtype; bytes: Uint8Array },
): Error {
  const bits = dtype === 'f32' ? undefined : new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
  const exponent = dtype === 'bf16' ? 0x7f80 : 0x7c00;
  const at = values.findIndex((number, place) =>
    bits ? (bits[place]! & exponent) === exponent : !Number.isFinite(number),
  );
  let end = 0;
  const own = loraTensors(layout).slice(graph.first * layout.layers);
  const { name } = own.find(({ shape: [rows, columns] }) => {
    end += rows * columns;
    return at < end;
  })!;
  return loraErrors.notFinite(
    Number.isFinite(values[at])
      ? `${name} holds a number beyond the range of ${dtype}.`
      : `${name} holds a number that is not finite.`,
  );
}
