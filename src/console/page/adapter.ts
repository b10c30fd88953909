/** An adapter: how much it changes each module, how far it is from another one, and how it is used. */
import { useState } from 'preact/hooks';
import type { Adapter, AdapterNorms as Norms, Usage } from '../../client/types.ts';
import { useNewestAdapters } from './adapters.ts';
import { apiKey, failureText, get, send } from './api.ts';
import { HeatMap, Histogram } from './charts.ts';
import { snippets } from './snippets.ts';
import { Failure, formatBytes, formatNumber, formatTime, html, useLoaded } from './ui.ts';

/** The view. */
export function AdapterView({ id }: { id: string }) {
  const [other, setOther] = useState('');
  const adapter = useLoaded((signal) => get<Adapter>(`/adapters/${id}`, { signal }), [id]);
  const norms = useLoaded(
    (signal) =>
      get<Norms>(`/adapters/${id}/norms${other === '' ? '' : `?other=${encodeURIComponent(other)}`}`, {
        signal,
      }),
    [id, other],
  );
  const newest = useNewestAdapters();
  const { value } = adapter;
  const others = newest.filter((each) => each.id !== id && each.baseModel === value?.baseModel);
  return html`
    <h1>Adapter <code>${id}</code></h1>
    <${Failure} text=${adapter.failure} />
    ${
      value &&
      html`
      <dl class="facts">
        ${value.name && html`<div><dt>Name</dt><dd>${value.name}</dd></div>`}
        <div><dt>Base</dt><dd>${value.baseModel}</dd></div>
        <div><dt>Model</dt><dd>${value.model}</dd></div>
        <div><dt>Rank, alpha</dt><dd>${value.rank}, ${value.alpha}</dd></div>
        <div><dt>Numbers</dt><dd>${(value.parameters / 1e6).toFixed(2)} M</dd></div>
        <div><dt>Kept until</dt><dd>${formatTime(value.expiresAt)}</dd></div>
      </dl>
      <p class="row"><a class="button" href=${`#/try/${id}`}>Try it beside the base</a> <${Downloads} adapter=${value} /></p>
      ${(value.warnings ?? []).map((each) => html`<p class="warning">${each}</p>`)}`
    }
    <section class="card">
      <h2>How much it changes each module</h2>
      <${Failure} text=${norms.failure} />
      ${
        norms.value &&
        html`<${HeatMap} norms=${norms.value.modules} />
        <div class="columns">
          <div><h3>Distribution of ‖ΔW‖</h3><${Histogram} values=${Object.values(norms.value.modules)} /></div>
          <div>
            <h3>Distance to another adapter</h3>
            <label for="other">Adapter</label>
            <select id="other" value=${other} onChange=${(event: Event) => setOther((event.target as HTMLSelectElement).value)}>
              <option value="">none</option>${others.map((each) => html`<option value=${each.id}>${each.id}</option>`)}
            </select>
            <dl class="facts" aria-live="polite"><div><dt>‖ΔW‖</dt><dd>${formatNumber(norms.value.total)}</dd></div>
              ${
                norms.value.other &&
                html`
                <div><dt>‖ΔW‖ of the other</dt><dd>${formatNumber(norms.value.other.total)}</dd></div>
                <div><dt>Distance</dt><dd>${formatNumber(norms.value.other.distance)}</dd></div>
                <div><dt>Cosine</dt><dd>${norms.value.other.cosine.toFixed(3)}</dd></div>`
              }</dl>
          </div>
        </div>`
      }
    </section>
    ${value && html`<${Snippets} adapter=${value} />`}
  `;
}

/** Files, with the key where one is needed: a link would come without it. */
function Downloads({ adapter }: { adapter: Adapter }) {
  const [failure, setFailure] = useState<string>();
  const { urls, files, id } = adapter;
  const size = (name: string) => files.find((each) => each.name === name)?.bytes;
  const all = [
    { label: 'safetensors', url: urls.weights, bytes: size('adapter_model.safetensors') },
    { label: 'config', url: urls.config, bytes: size('adapter_config.json') },
    ...(urls.gguf ? [{ label: 'GGUF', url: urls.gguf, bytes: undefined }] : []),
    { label: 'tar', url: urls.archive, bytes: undefined },
  ];
  const fetchFile = async (event: Event, url: string) => {
    if (apiKey() === '') return;
    event.preventDefault();
    try {
      const blob = await (await send(url)).blob();
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = url.split('/').at(-1)!;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      setFailure(failureText(error));
    }
  };
  return html`<span class="row" role="group" aria-label=${`Files of ${id}`}>${all.map(
    ({ label, url, bytes }) =>
      html`<a class="button quiet" href=${url} download onClick=${(event: Event) => fetchFile(event, url)}>${label}${bytes ? ` ${formatBytes(bytes)}` : ''}</a>`,
  )}</span><${Failure} text=${failure} />`;
}

function Snippets({ adapter }: { adapter: Adapter }) {
  const usage = useLoaded((signal) => get<Usage>('/usage', { signal }), []);
  const all = snippets(adapter, { origin: location.origin, tenant: usage.value?.tenant ?? 'default' });
  const [shown, setShown] = useState('PEFT');
  const [copied, setCopied] = useState('');
  const text = all[shown]!;
  return html`<section class="card"><h2>Use it</h2>
    <div class="row" role="group" aria-label="Where to use it">${Object.keys(all).map(
      (name) =>
        html`<button type="button" class="quiet" aria-pressed=${name === shown ? 'true' : 'false'} onClick=${() => setShown(name)}>${name}</button>`,
    )}</div>
    <pre tabindex="0" aria-label=${`${shown} snippet`}><code>${text}</code></pre>
    <button type="button" class="quiet" onClick=${() =>
      navigator.clipboard.writeText(text).then(
        () => setCopied(shown),
        () => setCopied(''),
      )}>${copied === shown ? 'Copied' : 'Copy'}</button>
  </section>`;
}
