/** The base and an adapter side by side on one question. */
import { useRef, useState } from 'preact/hooks';
import { readMessages } from '../../client/events.ts';
import type { Adapter, ChatModelList } from '../../client/types.ts';
import { useNewestAdapters } from './adapters.ts';
import { failureText, get, send } from './api.ts';
import { Failure, formatMs, html, useLoaded } from './ui.ts';

type ChatModel = ChatModelList['data'][number];

type Answer = {
  readonly text: string;
  readonly facts?: string;
  readonly failure?: string;
  readonly busy?: boolean;
};
/** Answers of a bench are short; an adapter's often have a few tokens. */
const MAX_TOKENS = 200;

/** The view; `id` names the adapter that is tried first. */
export function Try({ id }: { id?: string }) {
  const models = useLoaded((signal) => get<{ data: ChatModel[] }>('/v1/models', { signal }), []);
  const newest = useNewestAdapters();
  const [chosen, setChosen] = useState(id ?? '');
  const ids = [...new Set([...(id ? [id] : []), ...newest.map((each) => each.id)])];
  const adapterId = chosen || ids[0] || '';
  const adapter = useLoaded<Adapter | undefined>(
    (signal) =>
      adapterId === '' ? Promise.resolve(undefined) : get<Adapter>(`/adapters/${adapterId}`, { signal }),
    [adapterId],
  );
  const [question, setQuestion] = useState('');
  const [choices, setChoices] = useState('');
  const [answers, setAnswers] = useState<Readonly<Record<'base' | 'adapter', Answer>>>();
  const running = useRef<AbortController>(undefined);

  const bases = (models.value?.data ?? []).filter(({ parent }) => parent === undefined);
  const wanted = adapter.value?.baseModel;
  const base = bases.find((each) => each.id === wanted) ?? (wanted === undefined ? bases[0] : undefined);

  const ask = async (side: 'base' | 'adapter', model: string, signal: AbortSignal) => {
    const change = (more: Partial<Answer>) =>
      setAnswers((before) => ({ ...before!, [side]: { ...before![side], ...more } }));
    let text = '';
    let tokens = 0;
    const startedAt = performance.now();
    const list = choices
      .split(',')
      .map((each) => each.trim())
      .filter(Boolean);
    try {
      const response = await send('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
        signal,
        body: JSON.stringify({
          model,
          messages: [{ role: 'user', content: question }],
          temperature: 0,
          max_tokens: MAX_TOKENS,
          stream: true,
          stream_options: { include_usage: true },
          ...(list.length > 0 && { structured_outputs: { choice: list } }),
        }),
      });
      for await (const { data } of readMessages(response.body!, () => running.current?.abort())) {
        if (data === '[DONE]') break;
        const chunk = JSON.parse(data);
        if (chunk.error) return change({ failure: chunk.error.message, busy: false });
        text += chunk.choices[0]?.delta.content ?? '';
        tokens = chunk.usage?.completion_tokens ?? tokens;
        change({ text });
      }
      change({
        busy: false,
        facts: `${tokens} ${tokens === 1 ? 'token' : 'tokens'} in ${formatMs(performance.now() - startedAt)}`,
      });
    } catch (error) {
      change({ busy: false, ...(signal.aborted ? { facts: 'stopped' } : { failure: failureText(error) }) });
    }
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    if (!base) return;
    running.current?.abort();
    const stop = new AbortController();
    running.current = stop;
    const none = { text: '', busy: true };
    setAnswers({ base: none, adapter: adapterId === '' ? { text: '', facts: 'no adapter' } : none });
    await Promise.all([
      ask('base', base.id, stop.signal),
      ...(adapterId === '' ? [] : [ask('adapter', `${base.id}+${adapterId}`, stop.signal)]),
    ]);
  };
  const isBusy = answers?.base.busy || answers?.adapter.busy;
  const text = (event: Event) => (event.target as HTMLInputElement).value;

  return html`<h1>Try it</h1>
    <${Failure} text=${models.failure ?? adapter.failure} />
    ${
      models.value &&
      !base &&
      html`<section class="card"><h2>There is no base model ${wanted ? html`for <code>${wanted}</code>` : ''}</h2>
      <p>A base as GGUF is needed to try adapters. The operator of this service gets one with</p>
      <pre tabindex="0"><code>loradrop bases pull hf://owner/name/file.gguf${wanted ? ` --base ${wanted}` : ''}</code></pre>
      <p class="about">or puts a file into the directory that <code>BASES_DIR</code> names (<code>bases</code> in the data directory). It is found at once.</p></section>`
    }
    ${
      base &&
      html`<form class="card" onSubmit=${submit}>
      <div class="fields">
        <div><label for="adapter">Adapter</label><select id="adapter" value=${adapterId} onChange=${(event: Event) => setChosen(text(event))}>${ids.length === 0 && html`<option value="">none yet</option>`}${ids.map((each) => html`<option>${each}</option>`)}</select></div>
        <div><label for="choices">Allowed answers <span class="about">(optional)</span></label><input id="choices" placeholder="Yes, No" value=${choices} onInput=${(event: Event) => setChoices(text(event))} /></div>
      </div>
      <label for="question">Question</label>
      <textarea id="question" rows="3" value=${question} onInput=${(event: Event) => setQuestion(text(event))}></textarea>
      <p class="row"><button type="submit" disabled=${question.trim() === ''}>Ask both</button>
      ${isBusy && html`<button type="button" class="quiet" onClick=${() => running.current?.abort()}>Stop</button>`}</p>
    </form>
    ${
      answers &&
      html`<div class="columns">
      <${AnswerCard} title="Base" about=${base.id} answer=${answers.base} />
      <${AnswerCard} title="With the adapter" about=${adapterId} answer=${answers.adapter} />
    </div>`
    }`
    }`;
}

function AnswerCard({ title, about, answer }: { title: string; about: string; answer: Answer }) {
  return html`<section class="card answer" aria-label=${title} aria-busy=${answer.busy ? 'true' : 'false'}>
    <h2>${title}</h2><p class="about">${about}</p>
    <p class="text" aria-live="polite">${answer.text}${answer.busy && html`<span class="cursor" aria-hidden="true">▍</span>`}</p>
    <${Failure} text=${answer.failure} />
    <p class="about">${answer.facts ?? ''}</p></section>`;
}
