/** The key, and what its tenant uses. */
import { useState } from 'preact/hooks';
import type { Usage } from '../../client/types.ts';
import { apiKey, get, setApiKey } from './api.ts';
import { Failure, formatBytes, html, useLoaded } from './ui.ts';

/** Something used, and its bound where there is one. */
type Used = Usage['waitingJobs'];

/** The view. */
export function Account() {
  const [key, setKey] = useState(apiKey());
  const usage = useLoaded((signal) => get<Usage>('/usage', { signal }), []);
  const { value } = usage;
  return html`<h1>Account</h1>
    <form class="card" onSubmit=${(event: Event) => {
      event.preventDefault();
      setApiKey(key.trim());
      usage.reload();
    }}>
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="off" placeholder="ld_…" value=${key} aria-describedby="key-about"
        onInput=${(event: Event) => setKey((event.target as HTMLInputElement).value)} />
      <p id="key-about" class="about">Kept in this tab until it is closed, and sent to this service alone. A service on a loopback address without keys needs none.</p>
      <button type="submit">Use this key</button>
    </form>
    <${Failure} text=${usage.failure} />
    ${
      value &&
      html`<section class="card"><h2>Usage of ${value.tenant}</h2>
      <p class="about">${value.key ? `Key ${value.key}, ` : ''}may ${value.scopes.join(', ')}.</p>
      <${Meter} label="Jobs waiting" of=${value.waitingJobs} />
      <${Meter} label="Jobs running" of=${value.runningJobs} />
      <${Meter} label="Adapters" of=${value.adapters} />
      <${Meter} label="Stored" of=${value.storedBytes} format=${formatBytes} />
    </section>`
    }`;
}

function Meter({
  label,
  of,
  format = String,
}: {
  label: string;
  of: Used;
  format?: (value: number) => string;
}) {
  return html`<div class="meter"><span>${label}</span>
    ${of.limit !== undefined && html`<meter min="0" max=${of.limit} value=${of.used} aria-label=${label}></meter>`}
    <span>${format(of.used)}${of.limit === undefined ? ', no bound' : ` of ${format(of.limit)}`}</span></div>`;
}
