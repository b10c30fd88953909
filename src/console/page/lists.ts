/** What the lists of jobs and adapters have in common: pages, and what they are filtered by. */
import { useEffect, useState } from 'preact/hooks';
import type { Model } from '../../client/types.ts';
import { failureText, get } from './api.ts';
import { html, useLoaded } from './ui.ts';

const STATUSES = ['queued', 'processing', 'succeeded', 'failed', 'canceled'] as const;

/** Fields of a query that are not empty, and how long a page is. */
export const query = (fields: Readonly<Record<string, string>>) =>
  new URLSearchParams(
    Object.entries({ ...fields, limit: '20' }).filter(([, value]) => value !== ''),
  ).toString();

/** Pages of a list: the first, and further ones by `load`, which is there while there may be more. */
export function usePages<Page extends { readonly nextCursor?: string }>(address: string) {
  const [more, setMore] = useState<Page[]>([]);
  const [failure, setFailure] = useState<string>();
  const first = useLoaded((signal) => get<Page>(address, { signal }), [address]);
  useEffect(() => setMore([]), [address, first.value]);
  const pages = [...(first.value ? [first.value] : []), ...more];
  const next = pages.at(-1)?.nextCursor;
  const load = () =>
    get<Page>(`${address}&cursor=${encodeURIComponent(next!)}`).then(
      (page) => {
        setFailure(undefined);
        setMore((before) => [...before, page]);
      },
      (error) => setFailure(failureText(error)),
    );
  return { pages, failure: failure ?? first.failure, reload: first.reload, ...(next && { load }) };
}

/** Choices of what is listed; without `onStatus` there is none of a status. */
export function Filter(options: {
  status?: string;
  model: string;
  onStatus?: (value: string) => void;
  onModel: (value: string) => void;
}) {
  const { status, model, onStatus, onModel } = options;
  const models = useLoaded((signal) => get<{ models: Model[] }>('/models', { signal }), []);
  const value = (event: Event) => (event.target as HTMLSelectElement).value;
  return html`<form class="row" aria-label="Filter">
    ${onStatus && html`<label>Status <select value=${status} onChange=${(event: Event) => onStatus(value(event))}><option value="">all</option>${STATUSES.map((each) => html`<option>${each}</option>`)}</select></label>`}
    <label>Model <select value=${model} onChange=${(event: Event) => onModel(value(event))}><option value="">all</option>${(models.value?.models ?? []).map(({ id }) => html`<option>${id}</option>`)}</select></label>
  </form>`;
}
