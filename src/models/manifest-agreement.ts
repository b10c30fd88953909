/** Whether the parts of a manifest agree with each other, where no schema can say it. */
import type { FieldError } from '../base/errors.ts';
import { findHeadErrors } from '../lora/bases.ts';
import { tokenCount, tokenShape } from '../lora/tensors.ts';
import { type BundleManifest, type DndManifest, isDnd, MANIFEST_FILE } from './manifest.ts';

/** conv1w, conv1h, conv2h, conv2w and linear2 (spec §2.1). */
const CONVOLUTIONS_PER_LAYER = 5;

/** Notes a field whose value contradicts others. */
type Expect = (holds: boolean, pointer: string, message: string) => void;

/** The files a manifest gives a role, in a fixed order; external data files of graphs are not among them. */
export function roleFiles(manifest: BundleManifest): string[] {
  const { card, encoder, generator, tokenizer } = manifest;
  const graphs = [...generator.graphs, ...generator.stages, ...generator.matrices].map(({ file }) => file);
  return [encoder.file, ...graphs, tokenizer.file, ...(card ? [card.file] : [])];
}

/**
 * What in a manifest contradicts itself. `listsMatrices` is false for version 1, whose bundles have no files with graphs of
 * matrices.
 */
export function disagreements(
  manifest: BundleManifest,
  { listsMatrices }: { listsMatrices: boolean },
): FieldError[] {
  const { base, condition, files, layout } = manifest;
  const found: FieldError[] = base.heads
    ? findHeadErrors(layout.modules, base.heads).map((message) => ({ pointer: '/base/heads', message }))
    : [];
  const expect: Expect = (holds, pointer, message) => {
    if (!holds) found.push({ pointer, message });
  };
  for (const family of ['dnd', 't2l'] as const) {
    const wanted = family === manifest.family;
    expect(
      (manifest[family] !== undefined) === wanted,
      `/${family}`,
      `must be there for the family ${family} alone`,
    );
  }
  const isPooled = condition.pooling === 'first-token';
  expect(
    isPooled === (condition.fullyMaskedAttention === undefined),
    '/condition/fullyMaskedAttention',
    'must be there where texts are padded, and nowhere else',
  );
  expect(
    !isPooled || condition.prompts === 1,
    '/condition/prompts',
    'must be 1 where the condition is pooled',
  );
  expect(
    isPooled ||
      condition.tokens <= condition.encoderTokens ||
      condition.tokens % condition.encoderTokens === 0,
    '/condition/tokens',
    'must be a multiple of /condition/encoderTokens where it is larger',
  );
  if (isDnd(manifest) && manifest.dnd) expectDecoder(manifest, expect);
  else {
    const pointer = '/layout/chunkWidth';
    expect(layout.chunkWidth === undefined, pointer, 'must not be there without weight tokens');
  }
  const names = files.map(({ name }) => name);
  expect(new Set(names).size === names.length, '/files', 'must not list a file twice');
  expect(!names.includes(MANIFEST_FILE), '/files', `must not list ${MANIFEST_FILE}`);
  const roles = roleFiles(manifest);
  expect(new Set(roles).size === roles.length, '/files', 'must not give one file two roles');
  const supplied = new Set(listsMatrices ? [] : manifest.generator.matrices.map(({ file }) => file));
  for (const role of roles) expect(names.includes(role) || supplied.has(role), '/files', `must list ${role}`);
  return found;
}

function expectDecoder({ condition, dnd, generator, layout }: DndManifest, expect: Expect): void {
  const [prompts, positions, width] = dnd.features[0]!;
  expect(condition.pooling === 'none', '/condition/pooling', 'must be none for the family dnd');
  expect(prompts === condition.prompts, '/dnd/features/0/0', 'must equal /condition/prompts');
  expect(width === condition.width, '/dnd/features/0/2', 'must equal /condition/width');
  expect(
    dnd.lengthProjection || positions === condition.tokens,
    '/dnd/features/0/1',
    'must equal /condition/tokens where there is no length projection',
  );
  expect(layout.chunkWidth !== undefined, '/layout/chunkWidth', 'must be there for the family dnd');
  const tokens = [tokenCount(layout), ...tokenShape(layout)];
  const lastIndex = dnd.features.length - 1;
  expect(
    dnd.features[lastIndex]!.every((length, axis) => length === tokens[axis]),
    `/dnd/features/${lastIndex}`,
    `must equal the layout's weight tokens (${tokens.join(', ')})`,
  );
  expect(dnd.kernel % 2 === 1, '/dnd/kernel', 'must be odd');
  expect(generator.graphs.length === 1, '/generator/graphs', 'must have 1 entry for the family dnd');
  expect(
    generator.stages.length === lastIndex || generator.stages.length === 0,
    '/generator/stages',
    `must have ${lastIndex} entries, one a layer, or none`,
  );
  expect(
    dnd.plan.length === CONVOLUTIONS_PER_LAYER * lastIndex,
    '/dnd/plan',
    `must have ${CONVOLUTIONS_PER_LAYER * lastIndex} entries, ${CONVOLUTIONS_PER_LAYER} a layer`,
  );
}
