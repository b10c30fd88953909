import { mkdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { newId } from '../../base/ids.ts';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import { MANIFEST_VERSION } from '../manifest.ts';
import { openBundle } from '../open.ts';
import { publishDirectory, refuseOccupied, removeStale } from '../publish-directory.ts';
import { writeManifest } from '../write-manifest.ts';
import { encoderMemory } from './dnd/graph-memory.ts';
import { copyEncoder, inspectEncoder } from './encoder/encoder.ts';
import type { ImportOptions, ImportProgress } from './import-options.ts';
import { openGenerator } from './open-generator.ts';
import { writeFlushed } from './write-flushed.ts';

/** Age from which a half-made directory counts as left by a killed process: no import takes a day. */
const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

const ENCODER_FILE = 'encoder.onnx';
const TOKENIZER_FILE = 'tokenizer.json';
const CARD_FILE = 'MODEL_CARD.md';

/**
 * Makes a bundle from a checkpoint and an encoder. Everything is built in a hidden directory beside `out`, verified as
 * opening would, flushed, and renamed in one step: an import that fails or is aborted leaves nothing, and what one leaves
 * whose process is killed is never at `out` and goes with a later import to the same place.
 * Errors: `checkpoint-invalid`, `encoder-invalid`, `layout-invalid`; `bundle-invalid` for an id or text out of its limits.
 */
export async function importCheckpoint(options: ImportOptions): Promise<Bundle> {
  const out = resolve(options.out);
  await refuseOccupied(out, modelErrors.checkpoint);
  await mkdir(dirname(out), { recursive: true });
  const prefix = `.${basename(out)}.importing`;
  await removeStale(dirname(out), prefix, (options.now ?? Date.now)() - STALE_AFTER_MS);
  const building = join(dirname(out), newId(prefix));
  await mkdir(building);
  try {
    const totalBytes = await buildBundle(building, options);
    const bundle = await openBundle(building, {
      ...(options.signal ? { signal: options.signal } : {}),
      onBytes: bytesReporter('verification', totalBytes, options.onProgress),
    });
    await options.verify?.(bundle);
    await publishDirectory(building, out, modelErrors.checkpoint);
    return { ...bundle, directory: out };
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** Builds everything and returns the bytes of the files. */
async function buildBundle(directory: string, options: ImportOptions): Promise<number> {
  const { signal, onProgress, evaluation, card } = options;
  const aborting = signal ? { signal } : {};
  const { base, source } = await openGenerator(options);
  await using _closing = source;
  const encoder = await inspectEncoder(options.encoderDirectory, {
    width: source.width,
    mostTokens: source.mostTokens,
    ...(options.encoderFile === undefined ? {} : { file: options.encoderFile }),
  });
  const stored = await source.store(directory, encoder, {
    ...aborting,
    onBytes: bytesReporter('generator', source.bytes, onProgress),
  });
  const { fullyMasked } = stored;

  const ownNames = [
    ...stored.files,
    ENCODER_FILE,
    TOKENIZER_FILE,
    ...(card === undefined ? [] : [CARD_FILE]),
  ];
  const clash = encoder.dataFiles.find((name) => ownNames.includes(name));
  if (clash) throw modelErrors.encoder(`The encoder has a data file of a name the bundle needs: ${clash}.`);
  onProgress?.({ step: 'encoder', doneBytes: 0, totalBytes: 0 });
  const copies = { model: ENCODER_FILE, tokenizer: TOKENIZER_FILE };
  const { dataFiles: encoderData, keyBlock } = await copyEncoder(encoder, directory, copies, {
    ...aborting,
    ...(fullyMasked ? { fullyMasked } : { padded: stored.facts.condition.pooling === 'none' }),
  });

  if (card !== undefined) await writeFlushed(join(directory, CARD_FILE), new TextEncoder().encode(card));
  const files = [...ownNames, ...encoderData];
  const totalBytes = await bytesOf(directory, files);
  const { family, layout, condition, generator, dnd, t2l } = stored.facts;
  await writeManifest(
    directory,
    {
      schemaVersion: MANIFEST_VERSION,
      family,
      id: options.id,
      version: options.version ?? '1',
      title: options.title ?? options.id,
      description: options.description ?? '',
      trained: options.trained,
      licence: options.licence,
      provenance: [...options.provenance, ...stored.provenance],
      base: { id: base.id, architecture: base.architecture, ...(base.heads && { heads: base.heads }) },
      layout,
      condition,
      encoder: {
        file: ENCODER_FILE,
        inputs: encoder.inputs,
        output: encoder.output,
        maxBatch: encoder.maxBatch,
        ...(keyBlock !== undefined && { keyBlock }),
        memoryBytes: await encoderMemory(directory, [ENCODER_FILE, ...encoderData]),
      },
      generator,
      ...(dnd && { dnd }),
      ...(t2l && { t2l }),
      tokenizer: { file: TOKENIZER_FILE },
      ...(card === undefined ? {} : { card: { file: CARD_FILE } }),
      ...(evaluation && { evaluation }),
    },
    files,
    { ...aborting, known: stored.known, onBytes: bytesReporter('digests', totalBytes, onProgress) },
  );
  return totalBytes;
}

/** Adds up the bytes of a step and tells of them. */
function bytesReporter(
  step: ImportProgress['step'],
  totalBytes: number,
  onProgress: ImportOptions['onProgress'],
): (bytes: number) => void {
  let doneBytes = 0;
  return (bytes) => {
    doneBytes += bytes;
    onProgress?.({ step, doneBytes, totalBytes });
  };
}

async function bytesOf(directory: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(names.map((name) => stat(join(directory, name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}
