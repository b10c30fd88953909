/** The generators there are, and what was measured of them. */
import { useState } from 'preact/hooks';
import type { Model } from '../../client/types.ts';
import { get } from './api.ts';
import { Intervals } from './charts.ts';
import { Failure, formatBytes, html, useLoaded } from './ui.ts';

type Row = { dataset: string; metric: string; subject: string; value: number; low?: number; high?: number };
const METRICS: Readonly<Record<string, string>> = {
  'answer-nll': 'Nats a token: less is better',
  accuracy: 'Right answers: more is better',
};

/** The view. */
export function Models() {
  const { value, failure } = useLoaded((signal) => get<{ models: Model[] }>('/models', { signal }), []);
  return html`<h1>Models</h1><${Failure} text=${failure} />
    ${value?.models.map(
      (model) => html`<section class="card">
      <h2>${model.title}</h2>
      <p>${model.description}</p>
      ${model.notice && html`<p class="warning">${model.notice}</p>`}
      <dl class="facts">
        <div><dt>Id</dt><dd><code>${model.id}</code></dd></div>
        <div><dt>Base</dt><dd>${model.base.id}</dd></div>
        <div><dt>Adapters</dt><dd>rank ${model.lora.rank}, ${model.lora.layers} layers</dd></div>
        <div><dt>Condition</dt><dd>${model.takes === 'description' ? 'a description' : `${model.condition.prompts} prompts`} of ${model.takes === 'description' ? 'at most ' : ''}${model.condition.tokens} tokens</dd></div>
        <div><dt>Size</dt><dd>${formatBytes(model.bytes)}</dd></div>
        <div><dt>Licence</dt><dd>${model.licence.text}</dd></div>
      </dl>
      ${model.evaluation && html`<${Evaluation} id=${model.id} evaluation=${model.evaluation} />`}
    </section>`,
    )}`;
}

function Evaluation({ id, evaluation }: { id: string; evaluation: NonNullable<Model['evaluation']> }) {
  const rows = evaluation.rows as unknown as Row[];
  const datasets = [...new Set(rows.map(({ dataset }) => dataset))];
  const [metric, setMetric] = useState('answer-nll');
  return html`<h3>Evaluation</h3>
    <label for=${`metric-${id}`}>Figure</label>
    <select id=${`metric-${id}`} value=${metric} onChange=${(event: Event) => setMetric((event.target as HTMLSelectElement).value)}>${Object.entries(METRICS).map(([key, label]) => html`<option value=${key}>${label}</option>`)}</select>
    <div class="grid">${datasets.map((dataset) => {
      const figures = rows
        .filter((row) => row.dataset === dataset && row.metric === metric)
        .map(({ subject, ...figure }) => ({
          ...figure,
          label: subject.replaceAll('-', ' '),
          strong: subject === 'generated',
        }));
      return (
        figures.length > 0 &&
        html`<div><h4>${dataset}</h4><${Intervals} figures=${figures} label=${`${dataset}, ${METRICS[metric]}`} /></div>`
      );
    })}</div>
    <details><summary>How it was measured</summary><p>${evaluation.protocol}</p></details>`;
}
