/** `bundle.json` of version 1, of Drag-and-Drop bundles whose graphs end in weight tokens, and what it is in version 2. */
import { type Static, Type } from 'typebox';
import { matrixGroups } from './import/dnd/matrix-groups.ts';
import {
  type BundleManifest,
  bundleFacts,
  bundleParts,
  closed,
  conditionSizes,
  DndFacts,
  FileName,
  FullyMaskedAttention,
  Generator,
  MANIFEST_VERSION,
} from './manifest.ts';

const { kernel, features, lengthProjection, plan, tuned } = DndFacts.properties;
const { parameters, multiplyAdds, precision, memoryBytes, stages } = Generator.properties;

/** The whole of a `bundle.json` of version 1. */
export const BundleManifestV1 = Type.Object(
  {
    schemaVersion: Type.Literal(1),
    ...bundleFacts,
    condition: Type.Object(
      { ...conditionSizes, fullyMaskedAttention: FullyMaskedAttention, lengthProjection },
      closed,
    ),
    decoder: Type.Object(
      {
        /** The whole decoder: `condition` `[B, N, Lt, C]` → `tokens` `[B, T, H, W]`. */
        file: FileName,
        ...{ kernel, features, parameters, multiplyAdds, precision, memoryBytes, plan, tuned, stages },
      },
      closed,
    ),
    ...bundleParts,
  },
  closed,
);
export type BundleManifestV1 = Static<typeof BundleManifestV1>;

/**
 * The same bundle as version 2 describes it. Its graphs of matrices are not among its files: they follow from the layout, and
 * whoever runs the bundle makes them (`suppliedGraphs`).
 */
export function fromVersion1(manifest: BundleManifestV1): BundleManifest {
  const { condition, decoder, ...shared } = manifest;
  const { lengthProjection, ...sizes } = condition;
  const { file, kernel, features, plan, tuned, ...generator } = decoder;
  return {
    ...shared,
    schemaVersion: MANIFEST_VERSION,
    family: 'dnd',
    condition: { ...sizes, pooling: 'none' },
    generator: {
      ...generator,
      graphs: [{ file, multiplyAdds: generator.multiplyAdds }],
      matrices: matrixGroups(manifest.layout).map(({ file }) => ({ file })),
    },
    dnd: { kernel, features, lengthProjection, plan, ...(tuned !== undefined && { tuned }) },
  };
}
