/** Every reader of bytes from outside: its samples, how it is asked, and with which failures it may answer. */
import { glob, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { parseKeyFile } from '../../src/access/key-file.ts';
import { parsePeftConfig } from '../../src/adapter/read-peft-config.ts';
import { openSafetensors } from '../../src/adapter/safetensors.ts';
import { parseChatRows } from '../../src/evaluation/chat-rows.ts';
import { readBaseFile } from '../../src/evaluation/llama.ts';
import { parseRows } from '../../src/evaluation/rows.ts';
import { DOCUMENTED_LIMITS } from '../../src/http/openapi.ts';
import { readForm } from '../../src/http/read-form.ts';
import { receiveUpload } from '../../src/http/receive-upload.ts';
import { generateForm } from '../../src/http/schemas.ts';
import { parseBaseFile } from '../../src/models/import/base-file.ts';
import { openStateDict } from '../../src/models/import/checkpoint/open-state-dict.ts';
import { parseEvaluationFile } from '../../src/models/import/evaluation-file.ts';
import { parseT2lAdapterConfig } from '../../src/models/import/t2l/adapter-config.ts';
import { parseTrainingArgs } from '../../src/models/import/t2l/training-args.ts';
import { parseManifest } from '../../src/models/parse-manifest.ts';
import { inspectModelBytes } from '../../src/onnx/inspect-model.ts';
import type { PromptFormat } from '../../src/prompts/prompt-format.ts';
import { promptFormatOf } from '../../src/prompts/prompt-format.ts';
import { readUnpacked } from '../../src/prompts/read-unpacked.ts';
import { codingOf, unpack } from '../../src/prompts/unpack.ts';
import { createTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { parseSecretFile } from '../../src/webhooks/secret-file.ts';
import type { Sample } from './mutate.ts';

/** A reader under test. */
export type Reader = {
  /** Files of the repository, as patterns below `test/`, besides the reader's own corpus. */
  readonly samples?: readonly string[];
  /** Codes of the failures that it declares. */
  readonly codes: readonly string[];
  /** Reads a file, which for those who want one lies at `path()`. */
  read(sample: Sample, path: () => Promise<string>): unknown;
};

/** Small limits, so that they are reached. */
const LIMITS = { maxPrompts: 100, maxPromptChars: 10_000, maxBytes: 1 << 20 };
/** Types whose numbers can be read; integers of a checkpoint are left alone. */
const NUMBERS: readonly string[] = ['BF16', 'F16', 'F32', 'F64'];
/** Numbers that are read of one checkpoint: views may say that they have more than the file. */
const MAX_NUMBERS = 1 << 20;

const PROMPT_CODES = [
  'prompts-empty',
  'prompts-invalid',
  'prompts-too-large',
  'too-many-prompts',
  'prompt-too-long',
  'prompt-field-ambiguous',
  'prompt-field-invalid',
  'prompts-hold-answers',
  'text-not-utf8',
];

/** Columns and templates that a client might name. */
const CHOICES = [
  {},
  {},
  { field: 'question' },
  { field: '/messages/0/content' },
  { template: '{instruction}\n{input}' },
] as const;

const TEXTS = [
  '',
  'Which gas do plants take in from the air?',
  'naïve café 𝒳 中文 🏳️‍🌈\t\r\n  ##',
  'a'.repeat(500),
  '[CLS] <s> </s>\0',
];

/** The readers by name, which is also the name of their corpus. */
export const READERS: Readonly<Record<string, Reader>> = {
  safetensors: {
    samples: ['golden/adapter/*.safetensors', 'golden/models/bert-masked.safetensors'],
    codes: ['safetensors-invalid'],
    async read(_sample, path) {
      await using file = await openSafetensors(await path());
      for (const { name, dtype } of file.header.tensors) {
        if (['BF16', 'F16', 'F32'].includes(dtype)) await file.read(name);
        else for await (const _chunk of file.stream(name));
      }
    },
  },
  checkpoint: {
    samples: ['models/import/checkpoint/fixtures/*.{pth,pkl,safetensors}'],
    codes: ['checkpoint-invalid', 'safetensors-invalid'],
    async read(_sample, path) {
      const file = await openStateDict(await path());
      try {
        for (const { name, shape, dtype } of file.entries) {
          if (shape.reduce((count, side) => count * side, 1) > MAX_NUMBERS || !NUMBERS.includes(dtype))
            continue;
          for await (const _numbers of file.stream(name));
        }
      } finally {
        await file.close();
      }
    },
  },
  'checkpoint-index': {
    codes: ['checkpoint-invalid', 'safetensors-invalid'],
    async read(_sample, path) {
      await (await openStateDict(await path())).close();
    },
  },
  tokenizer: {
    codes: ['tokenizer-invalid'],
    read({ bytes }) {
      const content = parsed(bytes);
      if (content === undefined) return;
      const tokenizer = createTokenizer(content);
      for (const text of TEXTS) tokenizer.encode(text, 64);
    },
  },
  manifest: {
    codes: ['bundle-invalid', 'bundle-schema-unknown', 'layout-invalid'],
    read: ({ bytes }) => parseManifest(bytes),
  },
  'base-file': {
    codes: ['checkpoint-invalid', 'layout-invalid'],
    read: ({ bytes }) => parseBaseFile(bytes.toString()),
  },
  'training-args': {
    codes: ['checkpoint-invalid'],
    read: ({ bytes }) => parseTrainingArgs(bytes.toString()),
  },
  't2l-adapter-config': {
    codes: ['checkpoint-invalid'],
    read: ({ bytes }) => parseT2lAdapterConfig(bytes.toString()),
  },
  'evaluation-file': {
    codes: ['evaluation-invalid'],
    read: ({ bytes }) => parseEvaluationFile(bytes.toString()),
  },
  'evaluation-rows': {
    codes: ['evaluation-data-invalid'],
    read: ({ bytes }) => parseRows(bytes.toString()),
  },
  gguf: {
    codes: ['base-model-unusable'],
    async read(_sample, path) {
      await readBaseFile(await path());
    },
  },
  onnx: {
    codes: ['onnx-invalid'],
    read: ({ bytes }) => inspectModelBytes(bytes),
  },
  'peft-config': {
    samples: ['golden/adapter/adapter_config.json'],
    codes: ['adapter-mismatch'],
    read: ({ bytes }) => parsePeftConfig(bytes),
  },
  prompts: {
    samples: ['prompts/dialogues.parquet'],
    codes: PROMPT_CODES,
    async read({ name, bytes }) {
      const coding = codingOf(bytes);
      const unpacked = coding ? await unpack(bytes, coding, LIMITS.maxBytes) : bytes;
      const format: PromptFormat = promptFormatOf(name) ?? 'text';
      // Both where the sample is Parquet and where a text has become one.
      const choice = CHOICES[(bytes[bytes.length >> 1] ?? 0) % CHOICES.length]!;
      await readUnpacked(unpacked, { format, limits: LIMITS, choice });
    },
  },
  'training-rows': {
    codes: PROMPT_CODES,
    read: ({ bytes }) =>
      readUnpacked(bytes, { format: 'jsonl', limits: LIMITS, choice: { training: 'user' } }),
  },
  'chat-rows': {
    samples: ['fuzz/corpus/training-rows/*'],
    codes: ['evaluation-data-invalid'],
    read: ({ bytes }) => parseChatRows(bytes.toString()),
  },
  upload: {
    samples: ['fuzz/corpus/form/*'],
    codes: ['form-invalid', 'file-too-large', 'request-malformed'],
    async read({ bytes }) {
      const end = bytes.indexOf('\n');
      const headers = { 'content-type': bytes.toString('latin1', 0, Math.max(0, end)) };
      const body = Readable.from([bytes.subarray(end + 1)], { objectMode: false });
      const keep = async (content: AsyncIterable<Uint8Array>) => {
        for await (const _chunk of content);
      };
      await receiveUpload({ headers, body } as unknown as FastifyRequest, { maxBytes: 10_000, keep });
    },
  },
  form: {
    codes: ['form-invalid', 'media-type-unsupported', 'text-not-utf8'],
    read({ bytes }) {
      // The first line is the Content-Type.
      const end = bytes.indexOf('\n');
      const schema = generateForm(DOCUMENTED_LIMITS);
      return readForm(bytes.subarray(end + 1), bytes.toString('latin1', 0, Math.max(0, end)), schema);
    },
  },
  'key-file': { codes: ['keys-file-invalid'], read: ({ bytes }) => parseKeyFile(bytes.toString()) },
  'secret-file': {
    codes: ['webhook-secrets-file-invalid'],
    read: ({ bytes }) => parseSecretFile(bytes.toString()),
  },
};

/** JSON, which the callers of some readers parse; undefined for what is none. */
function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

const TESTS = join(import.meta.dirname, '..');

/** Where a reader's own samples and the inputs that failed once lie. */
export const corpusOf = (reader: string) => join(import.meta.dirname, 'corpus', reader);

/** All samples of a reader, in the order of their names. */
export async function samplesOf(reader: string): Promise<Sample[]> {
  const own = (await readdir(corpusOf(reader)).catch(() => [])).sort();
  const paths = own.map((name) => join(corpusOf(reader), name));
  for (const pattern of READERS[reader]!.samples ?? []) {
    const found: string[] = [];
    for await (const path of glob(pattern, { cwd: TESTS })) found.push(join(TESTS, path));
    paths.push(...found.sort());
  }
  return Promise.all(paths.map(async (path) => ({ name: basename(path), bytes: await readFile(path) })));
}

/** Lays a sample at the place where readers of files look for it, under its own ending. */
export function placeSample({ name, bytes }: Sample, directory: string): () => Promise<string> {
  return async () => {
    const path = join(directory, `input${name.slice(name.indexOf('.'))}`);
    await writeFile(path, bytes);
    return path;
  };
}
