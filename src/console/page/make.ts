/** Prompts in, adapter out: what would be used is shown before anything is sent. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Job, Model, PromptPreview as Preview } from '../../client/types.ts';
import { failureText, get } from './api.ts';
import { Follow } from './jobs.ts';
import { Failure, html, useLoaded } from './ui.ts';

type Source = { readonly file?: File; readonly text: string };

/** Pause after the last key before the prompts are read anew. */
const PREVIEW_AFTER_MS = 400;

/** How pasted text is sent: JSON lines and arrays are told from lines of text by how they begin. */
function bodyOf({ file, text }: Source, options: Readonly<Record<string, string>>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) if (value !== '') form.set(name, value);
  if (file) form.set('file', file);
  else {
    const begin = text.trimStart();
    const [name, type] = begin.startsWith('[')
      ? ['prompts.json', 'application/json']
      : begin.startsWith('{')
        ? ['prompts.jsonl', 'application/x-ndjson']
        : /^[^\n]*\t/.test(begin)
          ? ['prompts.tsv', 'text/tab-separated-values']
          : ['prompts.txt', 'text/plain'];
    form.set('file', new File([text], name!, { type: type! }));
  }
  return form;
}

/** The view. */
export function Make() {
  const models = useLoaded((signal) => get<{ models: Model[] }>('/models', { signal }), []);
  const [source, setSource] = useState<Source>({ text: '' });
  const [model, setModel] = useState('');
  const [name, setName] = useState('');
  const [seed, setSeed] = useState('');
  const [count, setCount] = useState('1');
  const [field, setField] = useState('');
  const [preview, setPreview] = useState<Preview>();
  const [failure, setFailure] = useState<string>();
  const [job, setJob] = useState<Job>();
  const [sending, setSending] = useState(false);
  const [over, setOver] = useState(false);
  const chooser = useRef<HTMLInputElement>(null);

  const isEmpty = !source.file && source.text.trim() === '';
  const reading = { model, promptField: field };
  useEffect(() => {
    if (isEmpty) {
      setPreview(undefined);
      setFailure(undefined);
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const body = bodyOf(source, reading);
      get<Preview>('/prompts/preview', { method: 'POST', body, signal: stop.signal }).then(
        (value) => {
          setPreview(value);
          setFailure(undefined);
        },
        (error) => {
          if (stop.signal.aborted) return;
          setPreview(undefined);
          setFailure(failureText(error));
        },
      );
    }, PREVIEW_AFTER_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [source, model, field]);

  const submit = async (event: Event) => {
    event.preventDefault();
    setSending(true);
    setFailure(undefined);
    try {
      const options = { ...reading, name, seed, count };
      const body = bodyOf(source, options);
      // A request that is sent again because its answer was lost is the same job.
      const headers = { 'idempotency-key': crypto.getRandomValues(new Uint32Array(4)).join('-') };
      setJob(await get<Job>('/generate', { method: 'POST', body, headers }));
    } catch (error) {
      setFailure(failureText(error));
    } finally {
      setSending(false);
    }
  };

  const all = models.value?.models ?? [];
  const chosen = all.find(({ id }) => id === model) ?? all.find((each) => each.default) ?? all[0];
  const text = (event: Event) => (event.target as HTMLInputElement).value;
  return html`
    <h1>Prompts in, LoRA adapter out</h1>
    <${Failure} text=${models.failure} />
    <div class="columns">
      <form class="card" onSubmit=${submit}>
        <label for="prompts">Prompts</label>
        <textarea
          id="prompts" rows="10" spellcheck=${false} class=${over ? 'over' : ''}
          aria-describedby="prompts-about"
          value=${source.file ? `${source.file.name}, ${source.file.size} bytes` : source.text}
          readonly=${source.file !== undefined}
          placeholder="One prompt a line, JSON lines, a JSON array, or drop a file here"
          onInput=${(event: Event) => setSource({ text: text(event) })}
          onDragOver=${(event: DragEvent) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave=${() => setOver(false)}
          onDrop=${(event: DragEvent) => {
            event.preventDefault();
            setOver(false);
            const file = event.dataTransfer?.files[0];
            if (file) setSource({ file, text: '' });
            else setSource({ text: event.dataTransfer?.getData('text') ?? '' });
          }}
        ></textarea>
        <p id="prompts-about" class="about">
          ${wanted(chosen)}
          Files: text, JSON, JSON lines, CSV, TSV, Parquet.
        </p>
        <p class="row">
          <input ref=${chooser} id="file" type="file" class="hidden" tabindex=${-1} aria-label="File of prompts"
            onChange=${(event: Event) => {
              const file = (event.target as HTMLInputElement).files?.[0];
              if (file) setSource({ file, text: '' });
            }} />
          <button type="button" class="quiet" onClick=${() => chooser.current?.click()}>Choose a file</button>
          ${source.file && html`<button type="button" class="quiet" onClick=${() => setSource({ text: '' })}>Remove the file</button>`}
        </p>
        <div class="fields">
          <div>
            <label for="model">Model</label>
            <select id="model" onChange=${(event: Event) => setModel(text(event))}>
              ${all.map((each) => html`<option value=${each.id} selected=${each === chosen}>${each.id}</option>`)}
            </select>
          </div>
          <div><label for="name">Name <span class="about">(optional)</span></label><input id="name" value=${name} onInput=${(event: Event) => setName(text(event))} /></div>
          <div><label for="seed">Seed</label><input id="seed" inputmode="numeric" pattern="[0-9]*" placeholder="random" value=${seed} onInput=${(event: Event) => setSeed(text(event))} /></div>
          <div><label for="count">Adapters</label><input id="count" type="number" min="1" max="32" value=${count} onInput=${(event: Event) => setCount(text(event))} /></div>
          <div><label for="field">Column <span class="about">(of rows)</span></label><input id="field" placeholder="found by itself" value=${field} onInput=${(event: Event) => setField(text(event))} /></div>
        </div>
        <${Failure} text=${failure} />
        <button type="submit" disabled=${isEmpty || sending || !preview}>Make ${count === '1' ? 'an adapter' : `${count} adapters`}</button>
        ${chosen?.notice && html`<p class="warning">${chosen.notice}</p>`}
      </form>
      <section class="card" aria-label="What would be used">
        ${job ? html`<${Follow} job=${job} />` : html`<${PreviewCard} preview=${preview} chosen=${chosen} />`}
      </section>
    </div>
  `;
}

/** What the chosen model wants to be told. */
function wanted(chosen: Model | undefined): string {
  if (chosen?.takes === 'description') return 'One line that says what the task is.';
  return `Questions of one task, without their answers${chosen ? `; ${chosen.condition.prompts} make an adapter` : ''}.`;
}

function PreviewCard({ preview, chosen }: { preview: Preview | undefined; chosen: Model | undefined }) {
  if (!preview) {
    return html`<h2>What would be used</h2>
      <p class="about">Paste prompts: this shows how many there are, which column they come from, and how many tokens of each the encoder keeps.</p>
      ${chosen && html`<p>${chosen.title}</p><p class="about">For ${chosen.base.id}, rank ${chosen.lora.rank}.</p>`}`;
  }
  const { count, distinct, wanted, source, prompts, warnings, tokenLimit } = preview;
  const cut = prompts.filter(({ tokens = 0, kept = 0 }) => tokens > kept).length;
  return html`
    <h2>What would be used</h2>
    <dl class="facts" aria-live="polite">
      <div><dt>Prompts</dt><dd>${count}</dd></div>
      <div><dt>Duplicates</dt><dd>${count - distinct}</dd></div>
      <div><dt>An adapter takes</dt><dd>${wanted}</dd></div>
      <div><dt>Read from</dt><dd>${source.field ?? source.format ?? 'lines'}</dd></div>
      <div><dt>Cut off</dt><dd>${cut} <span class="about">of ${prompts.length}, at ${tokenLimit} tokens</span></dd></div>
    </dl>
    ${count < wanted && html`<p class="warning">There are fewer prompts than an adapter takes: some would be used twice.</p>`}
    ${warnings.map((each) => html`<p class="warning">${each}</p>`)}
    <div class="scroll" tabindex="0" role="region" aria-label="Prompts and their tokens">
      <table>
        <thead><tr><th scope="col">Prompt</th><th scope="col" class="number">Tokens</th><th scope="col" class="number">Kept</th></tr></thead>
        <tbody>${prompts.map(({ text, tokens, kept }) => html`<tr><td class="prompt">${text}</td><td class="number">${tokens ?? '–'}</td><td class="number ${tokens !== kept ? 'cut' : ''}">${kept ?? '–'}</td></tr>`)}</tbody>
      </table>
    </div>
  `;
}
