/** What attention gives where every key is masked (spec §1.3), written into the graph of any exporter. */
import type { ModelFacts } from '../../../onnx/inspect-model.ts';
import {
  ATTRIBUTE_TYPES,
  type AttributeMessage,
  decodeModel,
  ELEMENT_TYPES,
  editModel,
  type ModelMessage,
  type NodeMessage,
} from '../../../onnx/schema.ts';
import { modelErrors } from '../../errors.ts';
import type { BundleManifest } from '../../manifest.ts';

/** `zero`: such a row of attention mixes nothing; `uniform`: it mixes all positions alike. */
export type FullyMaskedAttention = BundleManifest['condition']['fullyMaskedAttention'];

/** Operators that do all of attention in one, standard (operator set 23) or of ONNX Runtime's optimiser. */
const FUSED = /(?:^|\.)\w*Attention$/;
/** The first operator set in which every operator written below is what it is today. */
const MIN_OPSET = 11;
/** The first operator set whose Softmax works along one axis, the last one unless told otherwise. */
const SOFTMAX_ALONG_LAST_AXIS_OPSET = 13;
/** Names of the values written here; exporters use slashes, or plain words. */
const PREFIX = 'loradrop.fully-masked';

const refuse = modelErrors.encoder;

/**
 * Checks by its operators that {@link setFullyMaskedAttention} can work on a graph.
 * Errors: `encoder-invalid` naming the operator that is in the way, or the one that is missing.
 */
export function checkAttention(operators: ModelFacts['operators']): void {
  const fused = [...operators].find((operator) => FUSED.test(operator));
  if (fused) {
    throw refuse(
      `The encoder computes attention in one operator, ${fused}, which does not let the fully masked case be set ` +
        '(spec §1.3). Take a form that was exported without fusing attention.',
    );
  }
  if (!operators.has('Softmax')) {
    throw refuse('The encoder has no Softmax, so the fully masked case cannot be set (spec §1.3).');
  }
}

/**
 * A model file whose attention gives what is wished where a prompt's mask is zero everywhere, whatever it gave before. Each
 * Softmax is followed by a choice between its own result and the wished shares, so that the numbers of every prompt with at
 * least one token keep their bits. `mask` names the graph's input `[batch, positions]`.
 *
 * It is always written and never probed for: whether an export needs it can only be told by running it, which this room
 * does not do, and it costs about as much as the masking that is there already.
 * Errors: `encoder-invalid` where a Softmax is not attention as encoders have it.
 */
export function setFullyMaskedAttention(
  bytes: Uint8Array,
  options: { mask: string; mode: FullyMaskedAttention },
): Uint8Array {
  checkNumbers(decodeModel(bytes));
  return editModel(bytes, ({ graph }) => {
    graph!.node = [
      ...sharedNodes(options),
      ...graph!.node!.flatMap((node, index) =>
        isSoftmax(node) ? [node, ...choiceAfter(node, index, options.mode)] : [node],
      ),
    ];
  });
}

function isSoftmax({ opType, domain }: NodeMessage): boolean {
  return opType === 'Softmax' && !domain;
}

function checkNumbers({ opsetImport = [], graph = {} }: ModelMessage): void {
  const opset = opsetImport.find(({ domain }) => !domain || domain === 'ai.onnx')?.version ?? 0;
  if (opset < MIN_OPSET)
    throw refuse(`The encoder uses operator set ${opset}; ${MIN_OPSET} or later is needed.`);
  if (graph.initializer?.some(({ dataType }) => dataType === ELEMENT_TYPES.float16)) {
    throw refuse(
      'The encoder computes in float16; for prompts longer than one slice take its float32 or int8 form.',
    );
  }
  const softmaxes = (graph.node ?? []).filter(isSoftmax);
  if (softmaxes.length === 0) throw refuse('The encoder’s attention is not in its main graph.');
  for (const { attribute = [] } of softmaxes) {
    const axis = attribute.find(({ name }) => name === 'axis')?.i;
    const last = axis === undefined ? opset >= SOFTMAX_ALONG_LAST_AXIS_OPSET : axis === -1 || axis === 3;
    if (!last)
      throw refuse(
        'The encoder has a Softmax that does not go over the last axis, where attention has its keys.',
      );
  }
}

/** Constants, the batch, and for each prompt whether it has a token, `[batch, 1, 1]`; operators that no operator set changed. */
function sharedNodes({ mask, mode }: { mask: string; mode: FullyMaskedAttention }): NodeMessage[] {
  return [
    constant('first', ELEMENT_TYPES.int64, BigInt64Array.of(0n), [1]),
    constant('last', ELEMENT_TYPES.int64, BigInt64Array.of(-1n), [1]),
    constant('as-rows', ELEMENT_TYPES.int64, BigInt64Array.of(0n, 1n, -1n), [3]),
    ...(mode === 'zero' ? [constant('share', ELEMENT_TYPES.float32, Float32Array.of(0), [1])] : []),
    node('mask-shape', 'Shape', [mask]),
    node('batch', 'Gather', [named('mask-shape'), named('first')]),
    node('mask', 'Cast', [mask], { to: ELEMENT_TYPES.float32 }),
    node('mask-rows', 'Reshape', [named('mask'), named('as-rows')]),
    node('most', 'GlobalMaxPool', [named('mask-rows')]),
    node('any', 'Cast', [named('most')], { to: ELEMENT_TYPES.bool }),
  ];
}

/** The nodes after one Softmax. Its result gets another name, and theirs the one that the rest of the graph asks for. */
function choiceAfter(softmax: NodeMessage, index: number, mode: FullyMaskedAttention): NodeMessage[] {
  const wanted = softmax.output![0]!;
  const own = (part: string) => `${index}.${part}`;
  softmax.output = [named(own('shares'))];
  return [
    node(own('shape'), 'Shape', [named(own('shares'))]),
    node(own('keys'), 'Gather', [named(own('shape')), named('last')]),
    // Heads may have an axis of their own or share the batch's: as rows of a prompt they are the same.
    node(own('by-prompt'), 'Concat', [named('batch'), named('last'), named(own('keys'))], { axis: 0 }),
    node(own('rows'), 'Reshape', [named(own('shares')), named(own('by-prompt'))]),
    ...(mode === 'zero'
      ? []
      : [
          node(own('count'), 'Cast', [named(own('keys'))], { to: ELEMENT_TYPES.float32 }),
          node(own('share'), 'Reciprocal', [named(own('count'))]),
        ]),
    node(own('chosen'), 'Where', [
      named('any'),
      named(own('rows')),
      named(mode === 'zero' ? 'share' : own('share')),
    ]),
    { ...node(own('result'), 'Reshape', [named(own('chosen')), named(own('shape'))]), output: [wanted] },
  ];
}

function named(part: string): string {
  return `${PREFIX}.${part}`;
}

/** A node of the standard domain whose only output bears its name. */
function node(
  part: string,
  opType: string,
  input: string[],
  integers: Readonly<Record<string, number>> = {},
): NodeMessage {
  const attribute = Object.entries(integers).map(
    ([name, i]): AttributeMessage => ({ name, type: ATTRIBUTE_TYPES.int, i }),
  );
  return { name: named(part), opType, input, output: [named(part)], attribute };
}

/** As a node and not as an initialiser: files of older format versions list initialisers among the inputs. */
function constant(
  part: string,
  dataType: number,
  values: BigInt64Array | Float32Array,
  dims: number[],
): NodeMessage {
  const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return {
    ...node(part, 'Constant', []),
    attribute: [{ name: 'value', type: ATTRIBUTE_TYPES.tensor, t: { dims, dataType, rawData } }],
  };
}
