/** Telling a whole dialogue in one text from a prompt: answers must not enter a condition. */

/**
 * Where an answer begins, in the chat templates and prompt styles of public data sets. A template's own marker stands
 * anywhere; a plain word only at the start of a line.
 */
const ANSWER_MARKERS: readonly RegExp[] = [
  // ChatML (Qwen, many others), gpt-oss
  /<\|(?:im_)?start\|>[ \t]*assistant/,
  // Llama 3
  /<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>/,
  // Llama 2, Mistral
  /\[\/INST\]/,
  // Gemma
  /<start_of_turn>\s*model/,
  // Phi, Zephyr, GLM, DeepSeek
  /<[|｜]assistant[|｜]>/i,
  // Alpaca, Guanaco, Dolly; also in the middle of a line
  /#{2,3}[ \t]*(?:Response|Assistant|Answer|Output|Bot|GPT)[ \t]*:/i,
  // Vicuna
  /\bASSISTANT[ \t]*:/,
  // Turns that were written as text, also by Python
  /['"](?:from|role)['"][ \t]*:[ \t]*['"](?:gpt|assistant|model|bot|chatgpt)['"]/,
  // HH-RLHF and the like
  /^[ \t]*(?:assistant|gpt|bot|chatbot)[ \t]*:/im,
];

/** True where a text has an answer in it, not only the place for one: a marker of the answer with something after it. */
export function holdsAnswer(text: string): boolean {
  return ANSWER_MARKERS.some((marker) => {
    const found = marker.exec(text);
    return found !== null && /\S/.test(text.slice(found.index + found[0].length));
  });
}
