import { Value } from 'typebox/value';
import { baseErrors } from '../base/errors.ts';
import { repositoryOfId } from '../base/repository-name.ts';
import { AdapterInfo } from '../jobs/adapter-info.ts';
import { commercialUseWord } from '../models/licence.ts';
import type { StoredAdapter } from '../store/store.ts';

/**
 * The model card of an adapter, Markdown under the metadata that Hub clients read: what it is for, how it was made, what to
 * know before using it. It depends on the adapter's record alone, and has no prompt text. Errors: `internal` for a record
 * that another version wrote.
 */
export function renderModelCard(adapter: StoredAdapter): string {
  const { tenant, id, info, createdAt } = adapter;
  if (!Value.Check(AdapterInfo, info)) {
    throw baseErrors.internal('The stored adapter’s record is not one of this version.');
  }
  const { baseModel, model, bundleDigest, promptDigests, seed, rank, alpha, dtype, device, licence } = info;
  const prompts = promptDigests.length;
  const distinct = new Set(promptDigests).size;
  const count = distinct === prompts ? `${prompts}` : `${prompts}, ${distinct} of them distinct`;
  const scale = `alpha ${alpha}${info.rsLora ? ' (rsLoRA)' : ''}`;
  const facts = [
    ['Base model', code(baseModel)],
    ['Made by', `${code(model)}, bundle ${code(`sha256:${bundleDigest}`)}`],
    ['Prompts', count],
    ['Seed', `${seed}`],
    ['LoRA', `rank ${rank}, ${scale}, ${info.tensors} tensors, ${info.parameters} numbers as ${dtype}`],
    ['Adapter', `${code(id)} of job ${code(info.jobId)}`],
    ['Made at', `${new Date(createdAt).toISOString()} on ${code(device)}`],
  ];
  const warnings = info.warnings ?? (info.trained ? [] : [UNTRAINED]);
  return [
    ...frontMatter(info),
    '',
    `# ${escapeMarkdown(info.name ?? id)}`,
    '',
    `A LoRA adapter for ${code(baseModel)}. Loradrop generated it from ${prompts} prompts in one pass of a decoder; it was not trained on them.`,
    '',
    ...(warnings.length > 0
      ? ['## Warnings', '', ...warnings.map((each) => `- ${escapeMarkdown(each)}`), '']
      : []),
    '## How it was made',
    '',
    '| | |',
    '|---|---|',
    ...facts.map(([name, value]) => `| ${name} | ${value} |`),
    '',
    '## Use',
    '',
    '```python',
    'from peft import PeftModel',
    'from transformers import AutoModelForCausalLM',
    '',
    `base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(baseModel)})`,
    `model = PeftModel.from_pretrained(base, ${JSON.stringify(`${tenant}/${repositoryOfId(id)}`)})`,
    '```',
    '',
    ...(licence
      ? [
          '## Licence',
          '',
          `${escapeMarkdown(licence.text)} Commercial use: ${commercialUseWord(licence)}.`,
          '',
        ]
      : []),
  ].join('\n');
}

const UNTRAINED = 'The weights of the generator are random: the files are valid, their effect is random.';

/** YAML for the Hub's own keys. A JSON string is one of YAML as well. */
function frontMatter({ baseModel, licence }: AdapterInfo): string[] {
  return [
    '---',
    `base_model: ${JSON.stringify(baseModel)}`,
    'base_model_relation: adapter',
    'library_name: peft',
    'pipeline_tag: text-generation',
    ...(licence ? ['license: other'] : []),
    'tags:',
    ...TAGS.map((tag) => `- ${tag}`),
    '---',
  ];
}

/** Tags that every adapter has. */
export const TAGS = ['lora', 'loradrop', 'peft'] as const;

/** Text of people as text in a line, whatever is in it. */
function escapeMarkdown(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_{}[\]<>#|~]/g, '\\$&');
}

/** Text in a code span, which a table takes too. */
function code(text: string): string {
  return `\`${text.replace(/[`|\s]/g, ' ')}\``;
}
