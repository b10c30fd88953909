/** Progress of work that is measured in bytes, on a bar. */
import { formatBytes, type ProgressBar } from './output.ts';

/** Rates of the first moments say nothing: buffers fill and files open. */
const MIN_RATE_MS = 1000;

/**
 * Shows bytes done of a total, bytes a second and the time left. Work may come in steps one after the other, each with a
 * total of its own: the rate is that of the step. A total of 0 shows the label alone.
 */
export function createByteProgress(
  bar: ProgressBar,
  options: { now?: () => number } = {},
): (label: string, doneBytes: number, totalBytes: number) => void {
  const { now = () => performance.now() } = options;
  let step = { doneBytes: Number.POSITIVE_INFINITY, totalBytes: 0, startBytes: 0, startMs: 0 };
  return (label, doneBytes, totalBytes) => {
    const nowMs = now();
    const isSameStep = totalBytes === step.totalBytes && doneBytes >= step.doneBytes;
    step = isSameStep
      ? { ...step, doneBytes }
      : { doneBytes, totalBytes, startBytes: doneBytes, startMs: nowMs };
    if (totalBytes === 0) {
      bar.update(0, label);
      return;
    }
    const parts = [`${label} ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`];
    const elapsedMs = nowMs - step.startMs;
    const bytesPerMs = (doneBytes - step.startBytes) / elapsedMs;
    if (elapsedMs >= MIN_RATE_MS && bytesPerMs > 0) {
      parts.push(`${formatBytes(bytesPerMs * 1000)}/s`);
      parts.push(`${formatDuration((totalBytes - doneBytes) / bytesPerMs)} left`);
    }
    bar.update(Math.min(1, doneBytes / totalBytes), parts.join(', '));
  };
}

/** `95000` → `1:35`. */
function formatDuration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const tail = String(seconds % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}
