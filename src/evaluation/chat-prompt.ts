/** Messages → the text a chat model was trained on, by the model's own template. */
import { Template } from '@huggingface/jinja';
import type { BaseFacts } from './base-facts.ts';
import { evaluationErrors } from './errors.ts';

/** One turn of a chat. */
export type Message = { readonly role: 'system' | 'user' | 'assistant'; readonly content: string };

/** Renders a chat; with `answer` it ends where the model's answer begins. */
export type ChatPrompt = (messages: readonly Message[], options: { answer: boolean }) => string;

/**
 * The renderer of a base's template, exactly what the template gives (a system message of its own included).
 * Errors: `base-model-unusable` when the template cannot be read, and from the renderer when it refuses the messages.
 */
export function chatPrompt({ chatTemplate, bosToken, eosToken }: BaseFacts): ChatPrompt {
  let template: Template;
  try {
    template = new Template(chatTemplate);
  } catch (cause) {
    throw evaluationErrors.base('Its chat template cannot be read.', { cause });
  }
  return (messages, { answer }) => {
    try {
      return template.render({
        messages,
        add_generation_prompt: answer,
        bos_token: bosToken,
        eos_token: eosToken,
      });
    } catch (cause) {
      throw evaluationErrors.base(
        `Its chat template does not take ${messages.map(({ role }) => `a ${role} message`).join(' and ')}.`,
        { cause },
      );
    }
  };
}
