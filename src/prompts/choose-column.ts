/** Which column of a data set's rows is the prompt: as the client says, or as the names of public data sets tell. */
import { dialogueText, isDialogue, type Reading, userText } from './dialogue.ts';
import { promptErrors } from './errors.ts';
import {
  columnsOf,
  type Fields,
  invalidRow,
  isFields,
  kindOf,
  placeOf,
  pointerOf,
  type Row,
  type Rows,
  shownColumns,
} from './rows.ts';
import { fieldsOf, missingField, parseField, parseTemplate, render, valueAt } from './template.ts';
import type { PromptsFrom } from './training-rows.ts';
import { holdsAnswer } from './transcript.ts';

/** How a client chooses: at most one of these. */
export type PromptChoice = {
  /** The rows are those of a fine-tuning file: see `trainingPrompts`. */
  readonly training?: PromptsFrom;
  /** A column's name, or a JSON pointer into a row where it begins with `/`. */
  readonly field?: string;
  /** Text with `{column}` in it. */
  readonly template?: string;
};

/** The prompts of rows, and where they were found. */
export type Chosen = {
  readonly prompts: string[];
  /** The column or columns; absent where the rows are plain texts. */
  readonly field?: string;
  /** Sentences for the client, without prompt text. */
  readonly warnings: string[];
};

/** A way to find the prompt in a row that nobody has chosen. */
type Shape = {
  readonly name: string;
  readonly read: (row: Fields) => Reading | undefined;
  /** Columns that are joined to it, for telling. */
  readonly joined?: readonly string[];
  /** Columns that often belong to such a prompt, and are not part of it. */
  readonly beside?: readonly string[];
};

/** Rows of an OpenAI batch. */
const BODY_MESSAGES = parseField('/body/messages');
const BESIDE_A_QUESTION = ['context', 'passage', 'choices', 'options'];
const column = (name: string, beside?: readonly string[]): Shape => ({
  name,
  read: (row) => userText(row[name]),
  ...(beside && { beside }),
});

/** In the order of preference (spec §1.1): where several fit, the first one is the prompt. */
const RANKED: readonly Shape[] = [
  column('prompt'),
  { name: 'conversations', read: (row) => dialogueText(row['conversations']) },
  { name: 'messages', read: (row) => dialogueText(row['messages']) },
  { name: 'instruction', read: readInstruction, joined: ['input', 'context'] },
];

/** Without an order: where several fit, and differ, nobody can know. */
const UNRANKED: readonly Shape[] = [
  { name: '/body/messages', read: (row) => dialogueText(valueAt(row, BODY_MESSAGES)) },
  column('question', BESIDE_A_QUESTION),
  column('query', BESIDE_A_QUESTION),
  column('text'),
  { ...column('input'), read: (row) => ('instruction' in row ? undefined : userText(row['input'])) },
  column('inputs'),
  column('problem', BESIDE_A_QUESTION),
];

const TAKEN = [...RANKED, ...UNRANKED].map(({ name }) => `\`${name}\``).join(', ');
const HOW_TO_CHOOSE = 'choose with promptField or promptTemplate (--prompt-field, --prompt-template)';

/** Top-level columns that any shape reads, so that a reader of columns can leave out all others. */
export const KNOWN_COLUMNS: readonly string[] = [
  ...new Set(
    [...RANKED, ...UNRANKED].flatMap(({ name, joined = [], beside = [] }) => [
      name.replace(/^\/(\w+).*/, '$1'),
      ...joined,
      ...beside,
    ]),
  ),
];

/** The instruction, a line break and `input` or `context`. Only absent, null and empty text mean that there is none. */
function readInstruction({ instruction, input, context }: Fields): Reading | undefined {
  const reading = userText(instruction);
  if (!reading || 'fault' in reading) return reading;
  const given = Object.entries({ input, context }).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  );
  const wrong = given.find(([, value]) => typeof value !== 'string');
  if (wrong) return { fault: `followed by \`${wrong[0]}\`, which is ${kindOf(wrong[1])}, not text` };
  if (given.length > 1) return { fault: `followed by both \`input\` and \`context\`; ${HOW_TO_CHOOSE}` };
  return given.length === 0 ? reading : { ...reading, text: `${reading.text}\n${given[0]![1]}` };
}

/**
 * The prompts of rows. Rows that are strings are prompts, lists of turns are dialogues. Objects are rows of a data set, and where the prompt is, is
 * decided once for all of them: by `choice`, else by the first of `prompt`, `conversations`, `messages` and `instruction`
 * (with `input` or `context`) that every row has, else by the only one of `/body/messages`, `question`, `query`, `text`,
 * `input`, `inputs` and `problem` that every row has. Errors: `prompts-invalid` with the row, `prompt-field-ambiguous`
 * where two columns fit and differ, `prompt-field-invalid`, `prompts-hold-answers`, `prompts-too-large` where a template
 * makes more than `maxChars` characters in all.
 */
export function choosePrompts(rows: Rows, choice: PromptChoice, maxChars: number): Chosen {
  const { field, template } = choice;
  if (field !== undefined && template !== undefined)
    throw promptErrors.choice('promptField and promptTemplate exclude each other.');
  if (
    field === undefined &&
    template === undefined &&
    rows.rows.every(({ value }) => typeof value === 'string')
  )
    return { prompts: rows.rows.map(({ value }) => value as string), warnings: [] };
  const fields = rows.rows.map((row): Fields => {
    if (typeof row.value === 'string') return { prompt: row.value };
    if (isFields(row.value)) return row.value;
    if (isDialogue(row.value)) return { messages: row.value };
    throw invalidRow(rows, row, 'is neither a string nor an object');
  });
  if (field !== undefined) return byField(rows, fields, field);
  if (template !== undefined) return byTemplate(rows, fields, { text: template, maxChars });
  return byShape(rows, fields);
}

function byField(rows: Rows, fields: readonly Fields[], name: string): Chosen {
  const path = parseField(name);
  const readings = fields.map((row, index) => {
    const value = valueAt(row, path);
    const reading = userText(value);
    if (reading && 'text' in reading) return reading;
    const row_ = rows.rows[index]!;
    const fault = reading ? `cannot be used: \`${name}\` is ${reading.fault}` : missingField(path, value);
    throw invalidRow(rows, row_, `${fault}. Its columns: ${shown(rows, row_)}`);
  });
  refuseAnswers(readings, name);
  return { prompts: readings.map(({ text }) => text), field: name, warnings: mediaWarnings(readings) };
}

function byTemplate(
  rows: Rows,
  fields: readonly Fields[],
  { text, maxChars }: { text: string; maxChars: number },
): Chosen {
  const template = parseTemplate(text);
  const paths = fieldsOf(template);
  const unknown = paths.find((path) => fields.every((row) => valueAt(row, path) === undefined));
  if (unknown && rows.rows.length > 0) {
    throw promptErrors.choice(
      `No row has \`${unknown.name}\` of promptTemplate; the columns of the first: ${shown(rows, rows.rows[0]!)}.`,
    );
  }
  let chars = 0;
  const readings = fields.map((row, index) => {
    const rendering = render(template, row);
    if ('text' in rendering) {
      chars += rendering.text.length;
      if (chars > maxChars)
        throw promptErrors.tooLarge(`promptTemplate makes more than ${maxChars} characters of the rows.`);
      return rendering;
    }
    throw invalidRow(rows, rows.rows[index]!, `cannot be put into promptTemplate: ${rendering.fault}`);
  });
  return {
    prompts: readings.map(({ text }) => text),
    field: [...new Set(paths.map(({ name }) => name))].join(' + '),
    warnings: mediaWarnings(readings),
  };
}

type Texts = readonly { readonly text: string; readonly media?: true }[];
/** A shape against all rows: the texts, or the first row that has none. */
type Trial = { readonly shape: Shape } & (
  | { readonly texts: Texts }
  | { readonly missing: number; readonly fault?: string }
);

function tryShape(shape: Shape, fields: readonly Fields[]): Trial {
  const texts: { text: string; media?: true }[] = [];
  for (const [index, row] of fields.entries()) {
    const reading = shape.read(row);
    if (!reading || 'fault' in reading)
      return { shape, missing: index, ...(reading && { fault: reading.fault }) };
    texts.push(reading);
  }
  return { shape, texts };
}

function byShape(rows: Rows, fields: readonly Fields[]): Chosen {
  const trials = [...RANKED, ...UNRANKED].map((shape) => tryShape(shape, fields));
  const fitting = trials.filter((trial) => 'texts' in trial);
  const ranked = fitting.find(({ shape }) => RANKED.includes(shape));
  // The spec's own name for it leaves no question.
  if (ranked?.shape.name === 'prompt') return chosen(ranked.shape, ranked.texts, fields);
  const others = fitting.filter(({ shape }) => UNRANKED.includes(shape));
  const withoutAnswers = others.filter(({ texts }) => !texts.some(({ text }) => holdsAnswer(text)));
  const candidates = [...(ranked ? [ranked] : []), ...withoutAnswers];
  const [first] = candidates;
  if (!first) {
    if (others[0]) refuseAnswers(others[0].texts, others[0].shape.name);
    throw noColumn(rows, trials);
  }
  const differing = candidates.filter(({ texts }) =>
    texts.some(({ text }, index) => text !== first.texts[index]!.text),
  );
  if (differing.length > 0) {
    const names = [first, ...differing].map(({ shape }) => `\`${shape.name}\``).join(' and ');
    throw promptErrors.ambiguous(`Every row has ${names}, and they differ: ${HOW_TO_CHOOSE}.`);
  }
  return chosen(first.shape, first.texts, fields);
}

function chosen(shape: Shape, texts: Texts, fields: readonly Fields[]): Chosen {
  const given = (name: string) => fields.some((row) => !['', null, undefined].includes(row[name] as string));
  const joined = (shape.joined ?? []).filter(given);
  const beside = (shape.beside ?? []).filter(given).map((name) => `\`${name}\``);
  return {
    prompts: texts.map(({ text }) => text),
    field: [shape.name, ...joined].join(' + '),
    warnings: [
      ...mediaWarnings(texts),
      ...(beside.length > 0
        ? [`The prompts are \`${shape.name}\` alone; ${beside.join(', ')} can be added with promptTemplate.`]
        : []),
    ],
  };
}

/** Of all shapes that did not fit, the failure of the one that went furthest, and of these one that has the column. */
function noColumn(rows: Rows, trials: readonly Trial[]) {
  const failed = trials.flatMap((trial) => ('missing' in trial ? [trial] : []));
  const furthest = Math.max(...failed.map(({ missing }) => missing));
  const there = failed.filter(({ missing }) => missing === furthest);
  const { shape, fault } = there.find((trial) => trial.fault !== undefined) ?? there[0]!;
  const row = rows.rows[furthest]!;
  const columns = `Its columns: ${shown(rows, row)}`;
  const name = `\`${shape.name}\``;
  if (fault !== undefined) return invalidRow(rows, row, `cannot be used: ${name} is ${fault}. ${columns}`);
  if (furthest > 0)
    return invalidRow(rows, row, `has no ${name}, where the rows before it have theirs. ${columns}`);
  return invalidRow(
    rows,
    row,
    `has no column that is known to hold prompts. ${columns}. Known are ${TAKEN}; for any other, ${HOW_TO_CHOOSE}`,
  );
}

function shown(rows: Rows, row: Row): string {
  return shownColumns(columnsOf(rows, row));
}

function refuseAnswers(texts: Texts, name: string): void {
  const found = texts.filter(({ text }) => holdsAnswer(text)).length;
  if (found === 0) return;
  throw promptErrors.withAnswers(
    `\`${name}\` has an answer in ${found} of ${texts.length} rows, and answers must not enter a condition. Choose a column that has the question alone with promptField; if these are no answers, say promptTemplate \`{${name}}\`.`,
  );
}

function mediaWarnings(texts: Texts): string[] {
  const found = texts.filter(({ media }) => media).length;
  return found === 0
    ? []
    : [
        `${found} of ${texts.length} prompts have images or other parts beside their text; only the text is used.`,
      ];
}

/** The places of rows for failures of their prompts. */
export function placesOf(rows: Rows) {
  return {
    pointer: (index: number) => pointerOf(rows, rows.rows[index]!),
    place: (index: number) => placeOf(rows, rows.rows[index]!),
  };
}
