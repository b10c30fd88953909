/** Jobs as they go on, and their list. */
import { useEffect, useState } from 'preact/hooks';
import { jobEvents } from '../../client/events.ts';
import type { Job, JobList as JobPage } from '../../client/types.ts';
import { connection, failureText, get, send } from './api.ts';
import { Deliveries } from './deliveries.ts';
import { Filter, query, usePages } from './lists.ts';
import { Failure, formatBytes, formatMs, formatTime, html, useLoaded } from './ui.ts';

const isFinal = ({ status }: Job) => ['succeeded', 'failed', 'canceled'].includes(status);

/** A job as it goes on, by its events. */
export function Follow({ job: given }: { job: Job }) {
  const [job, setJob] = useState(given);
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    if (isFinal(given)) return;
    const stop = new AbortController();
    const { signal } = stop;
    const follow = async () => {
      for await (const event of jobEvents(connection(), given.id, { signal })) {
        setJob((before) => ({ ...before, ...(event.type === 'ended' ? event.job : event.progress) }));
      }
    };
    follow().catch((error) => !signal.aborted && setFailure(failureText(error)));
    return () => stop.abort();
  }, [given.id]);
  const cancel = () =>
    send(`/jobs/${job.id}`, { method: 'DELETE' }).catch((error) => setFailure(failureText(error)));
  return html`
    <h2>Job <code>${job.id}</code></h2>
    <p aria-live="polite"><span class="badge ${job.status}">${job.status}</span>
      ${!isFinal(job) && html` <span>${job.stage}${job.position !== undefined ? `, ${job.position} before it` : ''}</span>`}
      ${job.timings && html` <span class="about">in ${formatMs(job.timings.totalMs)}</span>`}</p>
    ${
      !isFinal(job) &&
      html`
      <progress max="1" value=${job.fraction} aria-label="Progress"></progress>
      <p><button type="button" class="quiet" onClick=${cancel}>Cancel the job</button></p>`
    }
    <${Failure} text=${failure ?? (job.error && `${job.error.title} ${job.error.detail}`)} />
    ${(job.warnings ?? []).map((each) => html`<p class="warning">${each}</p>`)}
    ${
      job.status === 'succeeded' &&
      html`<ul class="plain">${(job.adapters ?? []).map(
        ({ id, bytes }) =>
          html`<li><a class="button" href=${`#/adapters/${id}`}>Look at ${id}</a> <a class="button quiet" href=${`#/try/${id}`}>Try it</a> <span class="about">${formatBytes(bytes ?? 0)}</span></li>`,
      )}</ul>`
    }
  `;
}

/** A job by its id, with its deliveries. */
export function JobView({ id }: { id: string }) {
  const { value: job, failure } = useLoaded((signal) => get<Job>(`/jobs/${id}`, { signal }), [id]);
  return html`<h1>Job</h1><${Failure} text=${failure} />
    ${
      job &&
      html`<section class="card"><${Follow} job=${job} />
      <dl class="facts"><div><dt>Model</dt><dd>${job.model}</dd></div><div><dt>Accepted</dt><dd>${formatTime(job.acceptedAt)}</dd></div>
      ${job.finishedAt && html`<div><dt>Finished</dt><dd>${formatTime(job.finishedAt)}</dd></div>`}</dl></section>
      ${job.webhook && html`<${Deliveries} id=${id} />`}`
    }`;
}

/** The list of jobs. */
export function Jobs() {
  const [status, setStatus] = useState('');
  const [model, setModel] = useState('');
  const { pages, failure, load, reload } = usePages<JobPage>(`/jobs?${query({ status, model })}`);
  const jobs = pages.flatMap((page) => page.jobs);
  return html`<h1>Jobs</h1>
    <div class="row"><${Filter} status=${status} model=${model} onStatus=${setStatus} onModel=${setModel} /> <button type="button" class="quiet" onClick=${reload}>Refresh</button></div>
    <${Failure} text=${failure} />
    <div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
      <thead><tr><th scope="col">Job</th><th scope="col">Name</th><th scope="col">Status</th><th scope="col" class="spare">Model</th><th scope="col">Accepted</th></tr></thead>
      <tbody>${jobs.map((job) => html`<tr><td class="id"><a href=${`#/jobs/${job.id}`}>${job.id}</a></td><td>${job.name ?? ''}</td><td><span class="badge ${job.status}">${job.status}</span></td><td class="spare">${job.model}</td><td>${formatTime(job.acceptedAt)}</td></tr>`)}</tbody>
    </table></div>
    ${jobs.length === 0 && html`<p class="about">There is no such job.</p>`}
    ${load && html`<button type="button" class="quiet" onClick=${load}>Show more</button>`}`;
}
