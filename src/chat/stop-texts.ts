/** Pieces of an answer on their way out, held back as long as they could become a stop text. */
export type StopTexts = {
  /** What of the answer so far may be sent; `stopped` when a stop text ended it. */
  take(piece: string): { readonly text: string; readonly stopped: boolean };
  /** What was held back, once the answer has ended by itself. */
  rest(): string;
};

/** Looks for the texts; the earliest one in the answer ends it. */
export function createStopTexts(stop: readonly string[]): StopTexts {
  let held = '';
  return {
    take(piece) {
      held += piece;
      const places = stop.map((text) => held.indexOf(text)).filter((place) => place >= 0);
      if (places.length > 0) {
        const text = held.slice(0, Math.min(...places));
        held = '';
        return { text, stopped: true };
      }
      const kept = Math.max(0, ...stop.map((text) => overlap(held, text)));
      const text = held.slice(0, held.length - kept);
      held = held.slice(held.length - kept);
      return { text, stopped: false };
    },
    rest() {
      const text = held;
      held = '';
      return text;
    },
  };
}

/** Characters at the end of `text` that `stop` begins with. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
