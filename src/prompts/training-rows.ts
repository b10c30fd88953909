/** Rows of a fine-tuning file, as OpenAI's guides have them → the prompts in them. Answers are counted and left where they are. */
import { type Reading, userText } from './dialogue.ts';
import { promptErrors } from './errors.ts';
import { type Fields, invalidRow, isFields, kindOf, type Row, type Rows } from './rows.ts';

/** Where the prompts of rows are: a model takes what users say, or a description of the task, as the system text is one. */
export type PromptsFrom = 'user' | 'system';

/** What a fine-tuning file holds beside its prompts: none of it enters a condition. */
export type TrainingCounts = {
  readonly promptsFrom: PromptsFrom;
  readonly rows: number;
  /** Answers to learn from. */
  readonly answers: number;
  /** Answers of `weight` 0, which are context and not to be learned. */
  readonly unweighted: number;
  /** Rows with a system or developer text. */
  readonly systems: number;
  /** Rows with tools, calls of tools or their results. */
  readonly tools: number;
  /** Rows without a prompt, since all their answers have `weight` 0. */
  readonly withoutPrompt: number;
};

/** The prompts of a fine-tuning file. */
export type TrainingPrompts = {
  readonly prompts: string[];
  /** For each prompt, the index of its row. */
  readonly rowOf: number[];
  readonly counts: TrainingCounts;
  /** Prompts that had images or other parts beside their text. */
  readonly media: number;
};

const SYSTEM: ReadonlySet<unknown> = new Set(['system', 'developer']);
const TOOL: ReadonlySet<unknown> = new Set(['tool', 'function']);
const WHAT_ROWS_ARE = 'a row is {"messages": [{"role": "user", "content": "…"}, …]}';

/** How the field of a row is called that other methods of training have in it. */
const OTHER_METHODS: Readonly<Record<string, string>> = {
  preferred_output: 'a row of preference tuning (DPO)',
  non_preferred_output: 'a row of preference tuning (DPO)',
  reference_answer: 'a row of reinforcement tuning',
};

/**
 * The prompts of rows: of a chat what the user says before each answer that is to be learned (`weight` is not 0), so that a
 * row of several turns gives several prompts; of an older `{prompt, completion}` the prompt. User turns in a row, without an
 * answer between them, are one prompt. A chat without any answer gives all that its user says. With `from` `system` the prompts
 * are the one system text that all rows have which have one. Errors: `prompts-invalid` with the row, or where no row has a system text.
 */
export function trainingPrompts(rows: Rows, from: PromptsFrom): TrainingPrompts {
  const prompts: string[] = [];
  const rowOf: number[] = [];
  const counts = {
    promptsFrom: from,
    rows: rows.rows.length,
    answers: 0,
    unweighted: 0,
    systems: 0,
    tools: 0,
    withoutPrompt: 0,
  };
  let media = 0;
  for (const [index, row] of rows.rows.entries()) {
    const found = readRow(rows, row);
    for (const { text, media: hasMedia } of from === 'user' ? found.prompts : described(found)) {
      // One description is taken, however many rows repeat it.
      if (from === 'system' && prompts.includes(text)) continue;
      if (from === 'system' && prompts.length > 0) {
        throw invalidRow(
          rows,
          row,
          'has another system text than the rows before it; the model takes one description of the task',
        );
      }
      prompts.push(text);
      rowOf.push(index);
      if (hasMedia) media += 1;
    }
    counts.answers += found.answers;
    counts.unweighted += found.unweighted;
    if (found.system !== undefined) counts.systems += 1;
    if (found.tools) counts.tools += 1;
    if (found.prompts.length === 0) counts.withoutPrompt += 1;
  }
  if (from === 'system' && prompts.length === 0) {
    throw promptErrors.invalid(
      'The model takes a description of the task, and no row has one: put it into the text of the role `system`.',
    );
  }
  return { prompts, rowOf, counts, media };
}

function described({ system }: Found): readonly Prompt[] {
  return system === undefined ? [] : [system];
}

type Prompt = { readonly text: string; readonly media?: true };
type Found = {
  readonly prompts: readonly Prompt[];
  readonly answers: number;
  readonly unweighted: number;
  readonly system?: Prompt | undefined;
  readonly tools: boolean;
};

function readRow(rows: Rows, row: Row): Found {
  const { value } = row;
  if (!isFields(value)) throw invalidRow(rows, row, `is ${kindOf(value)}; ${WHAT_ROWS_ARE}`);
  const other = Object.keys(OTHER_METHODS).find((name) => name in value);
  if (other !== undefined) {
    throw invalidRow(rows, row, `is ${OTHER_METHODS[other]}, which is not done here; ${WHAT_ROWS_ARE}`);
  }
  if (Array.isArray(value['messages'])) return readChat(rows, row, value, value['messages']);
  if ('prompt' in value) {
    const reading = textOf(rows, row, value['prompt'], '`prompt`');
    return {
      prompts: [reading],
      answers: 'completion' in value ? 1 : 0,
      unweighted: 0,
      tools: false,
    };
  }
  throw invalidRow(rows, row, `has no list of \`messages\`; ${WHAT_ROWS_ARE}`);
}

function readChat(rows: Rows, row: Row, fields: Fields, messages: readonly unknown[]): Found {
  if (messages.length === 0) throw invalidRow(rows, row, 'has an empty list of `messages`');
  const prompts: Prompt[] = [];
  let said: Prompt[] = [];
  let users = 0;
  let [answers, unweighted] = [0, 0];
  const systems: Prompt[] = [];
  let tools = 'tools' in fields || 'functions' in fields;
  for (const [place, message] of messages.entries()) {
    const where = `message ${place + 1}`;
    if (!isFields(message)) throw invalidRow(rows, row, `has ${kindOf(message)} as ${where}`);
    const { role } = message;
    if (SYSTEM.has(role)) systems.push(textOf(rows, row, message['content'], `the text in ${where}`));
    else if (TOOL.has(role)) tools = true;
    else if (role === 'user') {
      users += 1;
      said.push(textOf(rows, row, message['content'], `the user’s text in ${where}`));
    } else if (role === 'assistant') {
      if ('tool_calls' in message || 'function_call' in message) tools = true;
      if (isLearned(rows, row, message['weight'], where)) {
        answers += 1;
        prompts.push(...together(said));
      } else unweighted += 1;
      said = [];
    } else {
      throw invalidRow(
        rows,
        row,
        `has no known \`role\` in ${where}; roles are system, developer, user, assistant and tool`,
      );
    }
  }
  if (users === 0)
    throw invalidRow(rows, row, 'has no message of the role `user`, and its texts become the prompts');
  if (answers + unweighted === 0) prompts.push(...together(said));
  return { prompts, answers, unweighted, system: together(systems)[0], tools };
}

function isLearned(rows: Rows, row: Row, weight: unknown, where: string): boolean {
  if (weight === undefined || weight === null || weight === 1) return true;
  if (weight === 0) return false;
  throw invalidRow(rows, row, `has a \`weight\` in ${where} that is neither 0 nor 1`);
}

/** What the user says before one answer, as one prompt. After the result of a tool the model answers again, and nothing was said. */
function together(said: readonly Prompt[]): Prompt[] {
  if (said.length === 0) return [];
  const text = said.map((each) => each.text).join('\n');
  return [{ text, ...(said.some(({ media }) => media) && { media: true as const }) }];
}

function textOf(rows: Rows, row: Row, value: unknown, what: string): Prompt {
  // A text is itself here, also one that looks like a dialogue.
  const reading: Reading | undefined = typeof value === 'string' ? { text: value } : userText(value);
  if (reading && 'text' in reading) return reading;
  throw invalidRow(rows, row, `cannot be used: ${what} is ${reading ? reading.fault : kindOf(value)}`);
}
