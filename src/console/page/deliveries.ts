/** Deliveries of a job's webhook: what became of each, and sending one that ended once more. */
import { useState } from 'preact/hooks';
import type { Delivery, DeliveryList } from '../../client/types.ts';
import { failureText, get, send } from './api.ts';
import { Failure, formatTime, html, useLoaded } from './ui.ts';

/** The deliveries of a job. */
export function Deliveries({ id }: { id: string }) {
  const { value, failure, reload } = useLoaded(
    (signal) => get<DeliveryList>(`/jobs/${id}/deliveries`, { signal }),
    [id],
  );
  const [refused, setRefused] = useState<string>();
  const replay = async ({ urls }: Delivery) => {
    try {
      // Not again by itself: the receiver would get it twice.
      await send(urls.replay, { method: 'POST', repeatable: false });
      setRefused(undefined);
    } catch (error) {
      setRefused(failureText(error));
    }
    reload();
  };
  return html`<section class="card"><h2>Deliveries</h2><${Failure} text=${refused ?? failure} />
    <div class="scroll" tabindex="0" role="region" aria-label="Deliveries"><table>
      <thead><tr><th scope="col">Event</th><th scope="col">State</th><th scope="col" class="number">Attempts</th><th scope="col">Last answer</th><th scope="col">Next attempt</th><th scope="col"><span class="hidden">Replay</span></th></tr></thead>
      <tbody>${value?.deliveries.map(
        (each) => html`<tr>
        <td>${each.event}</td><td><span class="badge ${each.state}">${each.state}</span></td><td class="number">${each.attempts}</td>
        <td>${each.status ?? each.failure ?? ''} <span class="about">${formatTime(each.lastAttemptAt)}</span></td><td>${formatTime(each.nextAttemptAt)}</td>
        <td>${each.state !== 'pending' && html`<button type="button" class="quiet small" aria-label=${`Send again: ${each.event}`} onClick=${() => replay(each)}>Send again</button>`}</td></tr>`,
      )}</tbody></table></div>
    ${value?.deliveries.length === 0 && html`<p class="about">None yet: an event has a delivery once its turn has come.</p>`}
    <button type="button" class="quiet" onClick=${reload}>Refresh</button></section>`;
}
