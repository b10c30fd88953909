/** A text encoder as the importer finds it: a directory with an ONNX model and a tokenizer. */
import { constants } from 'node:fs';
import { copyFile, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LoradropError } from '../../../base/errors.ts';
import { type GraphValue, inspectModel, type ModelFacts } from '../../../onnx/inspect-model.ts';
import { createTokenizer } from '../../../tokenizer/tokenizer.ts';
import { modelErrors } from '../../errors.ts';
import type { BundleManifest } from '../../manifest.ts';
import { SNIFFED_BYTES, whatItIs } from '../checkpoint/foreign-file.ts';
import { type FullyMaskedAttention, setFullyMaskedAttention } from './fully-masked.ts';
import { KEY_BLOCK, lookAtVisibleKeys } from './visible-keys.ts';

/** What an encoder directory offers. */
export type EncoderFacts = {
  /** Path of the model file. */
  readonly model: string;
  /** Names of the model's external data files, beside it. */
  readonly dataFiles: readonly string[];
  readonly tokenizer: string;
  readonly inputs: BundleManifest['encoder']['inputs'];
  readonly output: string;
  readonly maxBatch: number;
  /** Operator types in use, as {@link ModelFacts} names them. */
  readonly operators: ModelFacts['operators'];
  /** Tokens the encoder takes in one pass. */
  readonly encoderTokens: number;
  readonly padTokenId: number;
};

/** Where exporters put the model file. */
const MODEL_FILES = ['model.onnx', 'onnx/model.onnx'];
/** Output names exporters give the last hidden state. */
const OUTPUT_NAMES = ['last_hidden_state', 'token_embeddings'];
/** Positions of a BERT encoder, where no configuration says how many there are. */
const DEFAULT_POSITIONS = 512;
/** Prompts in one run where nothing speaks against it: enough to fill a CPU, and 512 tokens of each stay below 100 MB a layer. */
const MAX_BATCH = 32;
/** Operators whose scale is taken over the whole input, so that a prompt's numbers depend on its neighbours. */
const BATCH_DEPENDENT = /(?:^|\.)(?:Dynamic\w*|BatchNormalization)$/;
/** Largest tokenizer.json: vocabularies of 250,000 pieces take 17 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;
/** Largest config.json or tokenizer_config.json. */
const MAX_CONFIG_BYTES = 1 << 20;
/** Most model files an error lists. */
const MAX_SHOWN_FILES = 8;
/** Names of data files that a bundle can hold; the manifest's own pattern. */
const DATA_FILE = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** How padding tokens are spelled: `[PAD]`, `<pad>`. */
const PAD_TOKEN = /^[[<]pad[\]>]$/i;

const refuse = modelErrors.encoder;

/**
 * Inspects an encoder directory as model hubs have it: the named model file, else `model.onnx` or `onnx/model.onnx`;
 * `tokenizer.json`; and `config.json` and `tokenizer_config.json` where there are such. Errors: `encoder-invalid` with the
 * reason: a missing file, a tokenizer that is not computed the same here, an input nothing feeds, no output of the wanted
 * width, no padding token.
 */
export async function inspectEncoder(
  directory: string,
  options: {
    width: number;
    /** Most tokens of one pass that are of use, where the encoder takes more. Default {@link DEFAULT_POSITIONS}. */
    mostTokens?: number;
    file?: string;
  },
): Promise<EncoderFacts> {
  const model = await findModel(directory, options.file);
  const facts = await inspectModel(model).catch(async (cause: unknown) => {
    if (!(cause instanceof LoradropError)) throw cause;
    const what = await foreignKind(model);
    throw refuse(`The encoder's model: ${what ? `It is ${what}.` : cause.message}`, { cause });
  });
  const tokenizerPath = join(directory, 'tokenizer.json');
  const tokenizer = await readJson(tokenizerPath, MAX_TOKENIZER_BYTES);
  if (!tokenizer) throw refuse('The encoder directory has no tokenizer.json.');
  checkTokenizer(tokenizer);
  const config = (await readJson(join(directory, 'config.json'), MAX_CONFIG_BYTES)) ?? {};
  const tokenizerConfig = (await readJson(join(directory, 'tokenizer_config.json'), MAX_CONFIG_BYTES)) ?? {};
  checkHiddenSize(config, options.width);
  const padTokenId = padTokenIdOf(tokenizer, config, tokenizerConfig);
  return {
    model,
    dataFiles: await dataFilesOf(facts, dirname(model)),
    tokenizer: tokenizerPath,
    inputs: findInputs(facts.inputs),
    output: findOutput(facts.outputs, options.width),
    maxBatch: [...facts.operators].some((operator) => BATCH_DEPENDENT.test(operator)) ? 1 : MAX_BATCH,
    operators: facts.operators,
    encoderTokens: Math.min(positionsOf(config, padTokenId), options.mostTokens ?? DEFAULT_POSITIONS),
    padTokenId,
  };
}

/**
 * Copies the encoder into a bundle directory under the given names; data files keep theirs, since the model refers to them.
 * With `fullyMasked` the model is given that behaviour; with `padded` its attention looks at no more keys than texts have,
 * where it is understood; else it stays as it is. Returns the names of the data files, and the block of keys where there is
 * one. Errors: `encoder-invalid` where its attention cannot be given the behaviour.
 */
export async function copyEncoder(
  encoder: EncoderFacts,
  directory: string,
  names: { model: string; tokenizer: string },
  options: { fullyMasked?: FullyMaskedAttention; padded?: boolean; signal?: AbortSignal } = {},
): Promise<{ readonly dataFiles: readonly string[]; readonly keyBlock?: number }> {
  const { fullyMasked: mode, padded = false, signal } = options;
  let keyBlock: number | undefined;
  const copies: [string, string][] = [
    [encoder.model, names.model],
    [encoder.tokenizer, names.tokenizer],
    ...encoder.dataFiles.map((name): [string, string] => [join(dirname(encoder.model), name), name]),
  ];
  for (const [from, name] of copies) {
    signal?.throwIfAborted();
    const to = join(directory, name);
    if (mode && name === names.model) {
      const model = setFullyMaskedAttention(await readFile(from), { mask: encoder.inputs.mask, mode });
      await writeFile(to, model, { flag: 'wx' });
    } else {
      const shorter =
        padded && name === names.model
          ? lookAtVisibleKeys(await readFile(from), encoder.inputs.mask)
          : undefined;
      if (shorter) keyBlock = KEY_BLOCK;
      await (shorter ? writeFile(to, shorter, { flag: 'wx' }) : copyFile(from, to, constants.COPYFILE_EXCL));
    }
    const handle = await open(to, 'r');
    await handle.sync().finally(() => handle.close());
  }
  return { dataFiles: encoder.dataFiles, ...(keyBlock !== undefined && { keyBlock }) };
}

/** Refuses a tokenizer whose ids would not be those of the encoder's authors. */
function checkTokenizer(content: Record<string, unknown>): void {
  try {
    createTokenizer(content);
  } catch (cause) {
    if (!(cause instanceof LoradropError)) throw cause;
    throw refuse(`tokenizer.json cannot be used: ${cause.message}`, { cause });
  }
}

async function findModel(directory: string, file?: string): Promise<string> {
  const names = file === undefined ? MODEL_FILES : [file];
  for (const name of names) {
    if (await fileBytes(join(directory, name))) return join(directory, name);
  }
  if (file !== undefined) throw refuse(`The encoder directory has no ${file}.`);
  const listed = await readdir(join(directory, 'onnx')).catch(() => []);
  const others = listed.filter((name) => name.endsWith('.onnx')).slice(0, MAX_SHOWN_FILES);
  throw refuse(
    `The encoder directory has neither ${MODEL_FILES.join(' nor ')}.${
      others.length > 0 ? ` Name one of these: ${others.map((name) => `onnx/${name}`).join(', ')}.` : ''
    }`,
  );
}

/** Size of a file, links followed (caches of model hubs are made of them), or undefined where there is none. */
async function fileBytes(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status?.isFile() ? status.size : undefined;
}

async function readJson(path: string, maxBytes: number): Promise<Record<string, unknown> | undefined> {
  const bytes = await fileBytes(path);
  if (bytes === undefined) return undefined;
  const name = basename(path);
  if (bytes > maxBytes) throw refuse(`${name} is larger than ${maxBytes} bytes.`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const what = await foreignKind(path);
    throw refuse(`${name} is ${what && !what.startsWith('JSON') ? what : 'not JSON'}.`, { cause });
  }
  if (!isObject(value)) throw refuse(`${name} is not a JSON object.`);
  return value;
}

/** What a file is in place of a model's, where its first bytes tell. */
async function foreignKind(path: string): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFFED_BYTES), 0, SNIFFED_BYTES, 0);
    return whatItIs(buffer.subarray(0, bytesRead), (await file.stat()).size);
  } finally {
    await file.close();
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

async function dataFilesOf({ external }: ModelFacts, directory: string): Promise<string[]> {
  const names = [...new Set(external.map(({ location }) => location))].sort();
  for (const name of names) {
    if (!DATA_FILE.test(name)) {
      throw refuse('The encoder keeps weights in a file that does not lie beside it under a plain name.');
    }
    if ((await fileBytes(join(directory, name))) === undefined)
      throw refuse(`${name} is missing beside the encoder.`);
    const what = await foreignKind(join(directory, name));
    if (what?.includes('pointer')) throw refuse(`${name} beside the encoder is ${what}.`);
  }
  return names;
}

function findInputs(inputs: readonly GraphValue[]): EncoderFacts['inputs'] {
  const roles = new Map<string, string>();
  for (const { name, elementType, shape } of inputs) {
    const role = /mask/i.test(name)
      ? 'mask'
      : /type|segment/i.test(name)
        ? 'tokenTypes'
        : /ids/i.test(name)
          ? 'ids'
          : '';
    const usable = role !== '' && !roles.has(role) && !/position/i.test(name);
    if (!usable) throw refuse(`The encoder wants an input that nothing feeds: ${name}.`);
    if (elementType !== 'int64' || (shape && shape.length !== 2)) {
      throw refuse(`The encoder's input ${name} is not int64 [batch, positions].`);
    }
    roles.set(role, name);
  }
  const [ids, mask, tokenTypes] = [roles.get('ids'), roles.get('mask'), roles.get('tokenTypes')];
  if (!ids || !mask) throw refuse('The encoder has no input for token ids, or none for the attention mask.');
  return { ids, mask, ...(tokenTypes ? { tokenTypes } : {}) };
}

function findOutput(outputs: readonly GraphValue[], width: number): string {
  const hidden = outputs.filter(
    ({ shape, elementType }) => elementType === 'float32' && (!shape || shape.length === 3),
  );
  const known = hidden.find(({ name }) => OUTPUT_NAMES.includes(name));
  const output = known ?? (hidden.length === 1 ? hidden[0] : undefined);
  if (!output) {
    throw refuse(
      `The encoder has no output that is clearly the last hidden state (${OUTPUT_NAMES.join(', ')}).`,
    );
  }
  // Exporters may leave the width open; the engine then sees it when it runs the encoder for the first time.
  const found = output.shape?.[2];
  if (typeof found === 'number' && found !== width) {
    throw refuse(`The encoder's output is declared ${found} wide, the checkpoint wants a width of ${width}.`);
  }
  return output.name;
}

/** The width once more, since an exporter may leave it open in the graph. */
function checkHiddenSize({ hidden_size: found }: Record<string, unknown>, width: number): void {
  if (typeof found === 'number' && found !== width) {
    throw refuse(`config.json says a hidden_size of ${found}, the checkpoint wants a width of ${width}.`);
  }
}

/** Model types that number positions from behind their padding token's id on, so that some are never used. */
const OFFSET_POSITIONS = /^(?:xlm-|distil)?roberta|^(?:camembert|mpnet|longformer|data2vec-text|ibert|esm)$/;

/** Positions that an encoder has for tokens. */
function positionsOf(config: Record<string, unknown>, padTokenId: number): number {
  const positions = config['max_position_embeddings'];
  if (positions === undefined) return DEFAULT_POSITIONS;
  if (typeof positions !== 'number' || !Number.isInteger(positions) || positions < 1) {
    throw refuse('config.json has a max_position_embeddings that is no number of positions.');
  }
  const unused = OFFSET_POSITIONS.test(String(config['model_type'])) ? padTokenId + 1 : 0;
  if (unused >= positions)
    throw refuse('config.json has too few max_position_embeddings for a single token.');
  return positions - unused;
}

function padTokenIdOf(
  tokenizer: Record<string, unknown>,
  config: Record<string, unknown>,
  tokenizerConfig: Record<string, unknown>,
): number {
  const { padding, added_tokens: added } = tokenizer;
  const tokens = Array.isArray(added) ? added.filter(isObject) : [];
  const { pad_token: named } = tokenizerConfig;
  const content = isObject(named) ? named['content'] : named;
  const candidates: unknown[] = [
    isObject(padding) ? padding['pad_id'] : undefined,
    tokens.find((token) => typeof content === 'string' && token['content'] === content)?.['id'],
    tokens.find((token) => PAD_TOKEN.test(String(token['content'])))?.['id'],
    config['pad_token_id'],
  ];
  const id = candidates.find(
    (candidate) => typeof candidate === 'number' && Number.isInteger(candidate) && candidate >= 0,
  );
  if (id === undefined) {
    throw refuse(
      'Neither tokenizer.json, tokenizer_config.json nor config.json tells the id of the padding token.',
    );
  }
  return id as number;
}
