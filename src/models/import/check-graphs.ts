import { join } from 'node:path';
import { LoradropError } from '../../base/errors.ts';
import { type GraphValue, inspectModel } from '../../onnx/inspect-model.ts';
import { modelErrors } from '../errors.ts';
import type { BundleManifest } from '../manifest.ts';

/** A value a graph must have: its name and, after the batch axis, its sides (undefined: any). */
type Expected = {
  readonly name: string;
  readonly elementType: 'float32' | 'int64';
  readonly sides: readonly (number | undefined)[];
  /** True for graphs of others, whose exporters may leave sides open: the engine sees them in its first run. */
  readonly mayBeOpen?: true;
};

/**
 * Checks that every graph of a bundle has the inputs and outputs its manifest promises, and that its external data lies in
 * files of the bundle. Returns the names of those data files. Errors: `bundle-invalid` naming the file and the reason.
 */
export async function checkGraphs(
  directory: string,
  manifest: BundleManifest,
  options: { signal?: AbortSignal } = {},
): Promise<ReadonlySet<string>> {
  const { condition, decoder, encoder } = manifest;
  const dataFiles = new Set<string>();
  const sizes = new Map(manifest.files.map(({ name, bytes }) => [name, bytes]));

  const check = async (file: string, inputs: readonly Expected[], output: Expected) => {
    options.signal?.throwIfAborted();
    const facts = await inspectModel(join(directory, file)).catch((cause: unknown) => {
      if (!(cause instanceof LoradropError)) throw cause;
      throw modelErrors.invalid(`${file}: ${cause.message}`, { cause });
    });
    for (const expected of inputs) expectValue(file, 'input', facts.inputs, expected);
    expectValue(file, 'output', facts.outputs, output);
    const extra = facts.inputs.filter(({ name }) => !inputs.some((input) => input.name === name));
    if (extra.length > 0) {
      throw modelErrors.invalid(`${file} wants an input nothing feeds: ${extra[0]!.name}.`);
    }
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
  };

  const ids = [encoder.inputs.ids, encoder.inputs.mask, encoder.inputs.tokenTypes].filter(
    (name) => name !== undefined,
  );
  await check(
    encoder.file,
    ids.map((name) => ({ name, elementType: 'int64', sides: [undefined] })),
    { name: encoder.output, elementType: 'float32', sides: [undefined, condition.width], mayBeOpen: true },
  );

  const start = [condition.prompts, condition.tokens, condition.width];
  const sidesAt = (index: number) => (index === 0 ? start : decoder.features[index]!);
  const last = decoder.features.length - 1;
  await check(decoder.file, [{ name: 'condition', elementType: 'float32', sides: start }], {
    name: 'tokens',
    elementType: 'float32',
    sides: decoder.features[last]!,
  });
  for (const [index, { file }] of decoder.stages.entries()) {
    await check(file, [{ name: 'x', elementType: 'float32', sides: sidesAt(index) }], {
      name: 'y',
      elementType: 'float32',
      sides: decoder.features[index + 1]!,
    });
  }
  return dataFiles;
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
    const shown = (shape: readonly (number | string | undefined)[]) =>
      ['batch', ...shape.map((side) => side ?? 'any')].join(', ');
    throw modelErrors.invalid(
      `${file}: ${kind} ${expected.name} is ${value.elementType} [${shown(sides)}], ` +
        `the manifest says ${expected.elementType} [${shown(expected.sides)}].`,
    );
  }
}
