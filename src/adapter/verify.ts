/** Whether a directory holds the adapter it should. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DTYPES, type Dtype } from '../base/dtype.ts';
import { loraErrors } from '../lora/errors.ts';
import type { LoraLayout, LoraTensor } from '../lora/layout.ts';
import { loraTensors } from '../lora/tensors.ts';
import { adapterErrors } from './errors.ts';
import { ADAPTER_CONFIG_FILE, MAX_CONFIG_BYTES, parsePeftConfig } from './read-peft-config.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';
import type { SafetensorsHeader } from './safetensors-header.ts';
import { DTYPE_NAMES, decodeTensor } from './tensor-bytes.ts';

/** Name PEFT gives the weights of an adapter. */
export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';
/** Names a message lists before it only counts the rest. */
const MAX_LISTED = 3;

/** What an adapter amounts to. */
export type AdapterSummary = {
  readonly tensors: number;
  /** Numbers of all tensors together. */
  readonly parameters: number;
  /** Size of the weights file. */
  readonly bytes: number;
  readonly dtype: Dtype;
};

/**
 * Checks an adapter directory against the layout of its base: the configuration, the names, shapes and common dtype of the
 * tensors, their places in the file, and with `finite` every number. Errors: `adapter-mismatch`, `safetensors-invalid`,
 * `adapter-not-finite`, each naming what is wrong; the system's own errors when a file cannot be opened.
 */
export async function verifyAdapter(
  directory: string,
  layout: LoraLayout,
  options: { finite?: boolean; signal?: AbortSignal } = {},
): Promise<AdapterSummary> {
  checkConfig(await readConfig(join(directory, ADAPTER_CONFIG_FILE)), layout);
  await using file = await openSafetensors(join(directory, ADAPTER_WEIGHTS_FILE));
  const summary = checkTensors(file.header, layout);
  if (options.finite) await checkFinite(file, options);
  return summary;
}

async function readConfig(path: string): Promise<Uint8Array> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  if (size > MAX_CONFIG_BYTES) {
    throw adapterErrors.mismatch(
      `${ADAPTER_CONFIG_FILE} has ${size} bytes; ${MAX_CONFIG_BYTES} are the limit.`,
    );
  }
  return await file.readFile();
}

function checkConfig(bytes: Uint8Array, layout: LoraLayout): void {
  const config = parsePeftConfig(bytes);
  if (Boolean(config.use_rslora) !== Boolean(layout.rsLora)) {
    throw adapterErrors.mismatch(
      `${ADAPTER_CONFIG_FILE} says use_rslora ${Boolean(config.use_rslora)}, and the bundle's adapters have it otherwise.`,
    );
  }
  const { r, lora_alpha: alpha, target_modules: targets } = config;
  if (r !== layout.rank || alpha !== layout.alpha) {
    throw adapterErrors.mismatch(
      `${ADAPTER_CONFIG_FILE} has r ${r} and lora_alpha ${alpha}, not ${layout.rank} and ${layout.alpha}.`,
    );
  }
  const paths = Array.from({ length: layout.layers }, (_, layer) =>
    layout.modules.map(({ path }) => `${layout.layerPath}.${layer}.${path}`),
  ).flat();
  // PEFT takes a target as a whole path or as the last segments of one.
  const wanted = new Set(targets);
  const hits = new Set<string>();
  const missed = paths.filter((path) => {
    const segments = path.split('.');
    const matching = segments
      .map((_, from) => segments.slice(from).join('.'))
      .filter((tail) => wanted.has(tail));
    for (const tail of matching) hits.add(tail);
    return matching.length === 0;
  });
  expectNone(missed, `${ADAPTER_CONFIG_FILE} does not target`);
  expectNone(
    targets.filter((target) => !hits.has(target)),
    `${ADAPTER_CONFIG_FILE} targets modules without LoRA:`,
  );
}

function checkTensors({ tensors }: SafetensorsHeader, layout: LoraLayout): AdapterSummary {
  const found = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const wanted: LoraTensor[] = loraTensors(layout);
  expectNone(
    wanted.filter(({ name }) => !found.has(name)).map(({ name }) => name),
    `${ADAPTER_WEIGHTS_FILE} lacks`,
  );
  const names = new Set(wanted.map(({ name }) => name));
  expectNone(
    [...found.keys()].filter((name) => !names.has(name)),
    `${ADAPTER_WEIGHTS_FILE} has the unexpected`,
  );
  const first = tensors[0]!;
  const dtype = DTYPES.find((candidate) => DTYPE_NAMES[candidate] === first.dtype);
  if (!dtype) throw adapterErrors.mismatch(`${first.name} has the dtype ${first.dtype}.`);
  for (const { name, shape } of wanted) {
    const tensor = found.get(name)!;
    if (tensor.dtype !== first.dtype) {
      throw adapterErrors.mismatch(`${name} has the dtype ${tensor.dtype}, others ${first.dtype}.`);
    }
    if (tensor.shape.length !== 2 || tensor.shape[0] !== shape[0] || tensor.shape[1] !== shape[1]) {
      throw adapterErrors.mismatch(
        `${name} has the shape [${tensor.shape.join(', ')}], not [${shape.join(', ')}].`,
      );
    }
  }
  const last = tensors[tensors.length - 1]!;
  return {
    tensors: wanted.length,
    parameters: wanted.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0),
    bytes: last.start + last.bytes,
    dtype,
  };
}

async function checkFinite(file: SafetensorsFile, options: { signal?: AbortSignal }): Promise<void> {
  for (const { name, dtype } of file.header.tensors) {
    for await (const bytes of file.stream(name, options)) {
      if (!decodeTensor(name, bytes, dtype).every(Number.isFinite)) {
        throw loraErrors.notFinite(`${name} holds a number that is not finite.`);
      }
    }
  }
}

function expectNone(names: readonly string[], complaint: string): void {
  if (names.length === 0) return;
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
  throw adapterErrors.mismatch(`${complaint} ${names.slice(0, MAX_LISTED).join(', ')}${more}.`);
}
