/** The list of adapters that the service keeps. */
import { useState } from 'preact/hooks';
import type { AdapterList, NameList } from '../../client/types.ts';
import { get } from './api.ts';
import { Filter, query, usePages } from './lists.ts';
import { Failure, formatBytes, formatTime, html, useLoaded } from './ui.ts';

/** The newest adapters, for views that choose among them. */
export function useNewestAdapters() {
  const { value } = useLoaded((signal) => get<AdapterList>('/adapters?limit=100', { signal }), []);
  return value?.adapters ?? [];
}

/** The view. */
export function Adapters() {
  const [model, setModel] = useState('');
  const { pages, failure, load, reload } = usePages<AdapterList>(`/adapters?${query({ model })}`);
  const names = useLoaded((signal) => get<NameList>('/names?limit=100', { signal }), []);
  const adapters = pages.flatMap((page) => page.adapters);
  return html`<h1>Adapters</h1>
    <div class="row"><${Filter} model=${model} onModel=${setModel} /> <button type="button" class="quiet" onClick=${reload}>Refresh</button></div>
    <${Failure} text=${failure} />
    ${(names.value?.names ?? []).length > 0 && html`<p>Names: ${names.value!.names.map(({ name, adapter }) => html`<a class="chip" href=${`#/adapters/${adapter}`}>${name}</a> `)}</p>`}
    <div class="scroll" tabindex="0" role="region" aria-label="Adapters"><table>
      <thead><tr><th scope="col">Adapter</th><th scope="col">Name</th><th scope="col" class="spare">Model</th><th scope="col" class="spare">Base</th><th scope="col" class="number">Size</th><th scope="col">Made</th><th scope="col" class="spare">Kept until</th></tr></thead>
      <tbody>${adapters.map((each) => html`<tr><td class="id"><a href=${`#/adapters/${each.id}`}>${each.id}</a></td><td>${each.name ?? ''}</td><td class="spare">${each.model}</td><td class="spare">${each.baseModel}</td><td class="number">${formatBytes(each.bytes)}</td><td>${formatTime(each.createdAt)}</td><td class="spare">${formatTime(each.expiresAt)}</td></tr>`)}</tbody>
    </table></div>
    ${adapters.length === 0 && !load && html`<p class="about">There is no such adapter. <a href="#/">Make one.</a></p>`}
    ${load && html`<button type="button" class="quiet" onClick=${load}>Show more</button>`}`;
}
