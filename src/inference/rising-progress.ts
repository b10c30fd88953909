/** Progress as callers see it. */
import type { InferenceProgress } from './engine.ts';

/** Passes progress on unless it is behind what was told before, as it is when work starts again in a new process. */
export function risingProgress(
  tell: (progress: InferenceProgress) => void,
): (progress: InferenceProgress) => void {
  let reached = -1;
  return (progress) => {
    const place = (progress.stage === 'decoding' ? 1 : 0) + progress.fraction;
    // The end of the embedding and the start of the decoding are one place and two messages.
    if (place < reached) return;
    reached = place;
    tell(progress);
  };
}
