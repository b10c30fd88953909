/** What all views of the console are written with. */
import htm from 'htm';
import { h } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { failureText } from './api.ts';

/** Markup in template strings, made into Preact's elements. */
export const html = htm.bind(h);

/** What a component may be given to show. */
export type Node = ReturnType<typeof h> | string | number | null | undefined | false | readonly Node[];

/** A value that comes from the service: under way, there, or failed. */
export type Loaded<T> = { readonly value?: T; readonly failure?: string; readonly reload: () => void };

/** Loads a value, and again whenever one of `inputs` changes or `reload` is called. */
export function useLoaded<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
): Loaded<T> {
  const [state, setState] = useState<{ value?: T; failure?: string }>({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    load(stop.signal).then(
      (value) => !stop.signal.aborted && setState({ value }),
      (error) => !stop.signal.aborted && setState((before) => ({ ...before, failure: failureText(error) })),
    );
    return () => stop.abort();
  }, [...inputs, turn]);
  return { ...state, reload: () => setTurn((before) => before + 1) };
}

/** A failure, announced to screen readers. */
export function Failure({ text }: { text: string | undefined }) {
  return text ? html`<p class="failure" role="alert">${text}</p>` : null;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Bytes for people. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  for (; value >= 1000 && unit < UNITS.length - 1; unit++) value /= 1000;
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** A number with as many digits as tell it apart from its neighbours. */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) < 0.001 ? value.toExponential(1) : value.toPrecision(3).replace(/\.?0+$/, '');
}

/** Milliseconds for people. */
export function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A time of the service, in the reader's own zone. */
export function formatTime(time: string | undefined): string {
  return time === undefined ? '' : new Date(time).toLocaleString();
}
