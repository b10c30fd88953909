import { join } from 'node:path';
import { LoradropError } from '../../base/errors.ts';
import { loraStacks } from '../../lora/tensors.ts';
import {
  type GraphValue,
  inspectModel,
  inspectModelBytes,
  type ModelFacts,
} from '../../onnx/inspect-model.ts';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import { type BundleManifest, isDnd } from '../manifest.ts';
import { stackName } from './dnd/matrices-graph.ts';

/** A value a graph must have: its name and, after the batch axis, its sides (undefined: any). */
type Expected = {
  readonly name: string;
  readonly elementType: 'float32' | 'int64';
  readonly sides: readonly (number | undefined)[];
  /** True for graphs of others, whose exporters may leave sides open: the engine sees them in its first run. */
  readonly mayBeOpen?: true;
};

/**
 * Checks that every graph of a bundle has the inputs and outputs its manifest promises, that each takes what the one before
 * gives, and that external data lies in files of the bundle. Returns the names of those data files. Errors: `bundle-invalid`
 * naming the file and the reason.
 */
export async function checkGraphs(
  bundle: Pick<Bundle, 'directory' | 'manifest' | 'supplied'>,
  options: { signal?: AbortSignal } = {},
): Promise<ReadonlySet<string>> {
  const { directory, manifest } = bundle;
  const { condition, encoder, generator } = manifest;
  const dataFiles = new Set<string>();
  const sizes = new Map(manifest.files.map(({ name, bytes }) => [name, bytes]));

  async function inspect(file: string): Promise<ModelFacts> {
    options.signal?.throwIfAborted();
    const supplied = bundle.supplied?.get(file);
    if (supplied) return inspectModelBytes(supplied);
    const facts = await inspectModel(join(directory, file)).catch((cause: unknown) => {
      if (!(cause instanceof LoradropError)) throw cause;
      throw modelErrors.invalid(`${file}: ${cause.message}`, { cause });
    });
    for (const { tensor, location, offsetBytes, bytes } of facts.external) {
      const size = sizes.get(location);
      if (size === undefined) {
        throw modelErrors.invalid(`${file}: tensor ${tensor} lies in a file the bundle does not list.`);
      }
      if (offsetBytes + (bytes ?? 0) > size) {
        throw modelErrors.invalid(`${file}: tensor ${tensor} reaches past the end of ${location}.`);
      }
      dataFiles.add(location);
    }
    return facts;
  }

  const graph = await inspect(encoder.file);
  const ids = [encoder.inputs.ids, encoder.inputs.mask, encoder.inputs.tokenTypes].filter(
    (name) => name !== undefined,
  );
  for (const name of ids) {
    expectValue(encoder.file, 'input', graph.inputs, { name, elementType: 'int64', sides: [undefined] });
  }
  const extra = graph.inputs.find(({ name }) => !ids.includes(name));
  if (extra) throw modelErrors.invalid(`${encoder.file} wants an input nothing feeds: ${extra.name}.`);
  const hidden = {
    name: encoder.output,
    elementType: 'float32',
    sides: [undefined, condition.width],
  } as const;
  expectValue(encoder.file, 'output', graph.outputs, { ...hidden, mayBeOpen: true });

  const start =
    condition.pooling === 'none' ? [condition.prompts, condition.tokens, condition.width] : [condition.width];
  /** Checks graphs that run one after the other, and returns the sides of what the last one gives. */
  const checkChain = async (graphs: readonly { readonly file: string }[]) => {
    let sides: readonly (number | undefined)[] = start;
    for (const { file } of graphs) {
      const facts = await inspect(file);
      expectOnlyInput(file, facts, sides);
      const [output, another] = facts.outputs;
      if (!output || another) throw modelErrors.invalid(`${file} does not have one output.`);
      sides = sidesOf(file, output);
    }
    return sides;
  };
  const last = await checkChain(generator.graphs);
  if (isDnd(manifest)) {
    const { file } = generator.graphs.at(-1)!;
    expectSides(file, { kind: 'output', name: 'tokens' }, last, manifest.dnd.features.at(-1)!);
  }
  if (generator.stages.length > 0) {
    const { file } = generator.stages.at(-1)!;
    const staged = await checkChain(generator.stages);
    expectSides(file, { kind: 'output', name: 'of the last stage' }, staged, last);
  }
  await checkMatrices(manifest, last, inspect);
  return dataFiles;
}

/** Checks that the graphs of matrices take `sides`, and give all stacks of the layout and nothing else, in its order. */
async function checkMatrices(
  { generator, layout }: BundleManifest,
  sides: readonly (number | undefined)[],
  inspect: (file: string) => Promise<ModelFacts>,
): Promise<void> {
  const missing = loraStacks(layout);
  for (const { file } of generator.matrices) {
    const facts = await inspect(file);
    expectOnlyInput(file, facts, sides);
    const own = missing.splice(0, facts.outputs.length);
    if (own.length < facts.outputs.length) {
      throw modelErrors.invalid(`${file} gives more matrices than the layout has.`);
    }
    for (const stack of own) {
      const [layers, ...rest] = stack.shape;
      const value = facts.outputs.find(({ name }) => name === stackName(stack));
      if (!value) throw modelErrors.invalid(`${file} has no output named ${stackName(stack)}.`);
      const found = value.shape ?? [];
      if (value.elementType !== 'float32' || found.join() !== [layers, ...rest].join()) {
        throw modelErrors.invalid(
          `${file}: output ${value.name} is ${value.elementType} [${found.map(shown).join(', ')}], ` +
            `the manifest says float32 [${stack.shape.join(', ')}].`,
        );
      }
    }
  }
  const [first] = missing;
  if (first) throw modelErrors.invalid(`No graph of matrices gives ${stackName(first)}.`);
}

/** The sides after the batch axis of a value that goes from one graph to the next. */
function sidesOf(file: string, { name, elementType, shape }: GraphValue): readonly (number | undefined)[] {
  const sides = shape?.slice(1) ?? [];
  if (elementType !== 'float32' || sides.length === 0 || sides.some((side) => typeof side !== 'number')) {
    throw modelErrors.invalid(
      `${file}: output ${name} is ${elementType} [batch, ${sides.map(shown).join(', ')}]; it takes float32 with known sides.`,
    );
  }
  return sides as number[];
}

function expectOnlyInput(file: string, { inputs }: ModelFacts, sides: readonly (number | undefined)[]): void {
  const [input, another] = inputs;
  if (!input) throw modelErrors.invalid(`${file} has no input.`);
  if (another) throw modelErrors.invalid(`${file} wants an input nothing feeds: ${another.name}.`);
  expectValue(file, 'input', inputs, { name: input.name, elementType: 'float32', sides });
}

function expectSides(
  file: string,
  { kind, name }: { kind: 'input' | 'output'; name: string },
  found: readonly (number | undefined)[],
  expected: readonly (number | undefined)[],
): void {
  if (found.join() === expected.join()) return;
  throw modelErrors.invalid(
    `${file}: ${kind} ${name} is float32 [batch, ${found.map(shown).join(', ')}], ` +
      `the manifest says float32 [batch, ${expected.map(shown).join(', ')}].`,
  );
}

function shown(side: number | string | undefined): string {
  return String(side ?? 'any');
}

function expectValue(
  file: string,
  kind: 'input' | 'output',
  values: readonly GraphValue[],
  expected: Expected,
): void {
  const value = values.find(({ name }) => name === expected.name);
  if (!value) throw modelErrors.invalid(`${file} has no ${kind} named ${expected.name}.`);
  const sides = value.shape?.slice(1) ?? (expected.mayBeOpen ? expected.sides : []);
  const isOpen = (axis: number) => expected.mayBeOpen && typeof sides[axis] !== 'number';
  const fits =
    value.elementType === expected.elementType &&
    sides.length === expected.sides.length &&
    expected.sides.every((side, axis) => side === undefined || isOpen(axis) || side === sides[axis]);
  if (!fits) {
    const list = (shape: readonly (number | string | undefined)[]) =>
      ['batch', ...shape.map(shown)].join(', ');
    throw modelErrors.invalid(
      `${file}: ${kind} ${expected.name} is ${value.elementType} [${list(sides)}], ` +
        `the manifest says ${expected.elementType} [${list(expected.sides)}].`,
    );
  }
}
