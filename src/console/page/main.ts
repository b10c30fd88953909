/** The console: one page, its views by the part of the address after `#`. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Account } from './account.ts';
import { AdapterView } from './adapter.ts';
import { Adapters } from './adapters.ts';
import { Jobs, JobView } from './jobs.ts';
import { Make } from './make.ts';
import { Models } from './models.ts';
import { Try } from './try.ts';
import { html } from './ui.ts';

const VIEWS = [
  { path: '', label: 'Make', view: Make },
  { path: 'jobs', label: 'Jobs', view: Jobs },
  { path: 'adapters', label: 'Adapters', view: Adapters },
  { path: 'try', label: 'Try it', view: Try },
  { path: 'models', label: 'Models', view: Models },
  { path: 'account', label: 'Account', view: Account },
] as const;
const DETAILS = { jobs: JobView, adapters: AdapterView, try: Try } as const;

const here = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);

function Console() {
  const [path, setPath] = useState(here());
  const heading = useRef<HTMLElement>(null);
  useEffect(() => {
    const change = () => {
      setPath(here());
      // A new view is read from its beginning.
      heading.current?.focus();
    };
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  const [first = '', id] = path;
  const current = VIEWS.find((each) => each.path === first) ?? VIEWS[0];
  const Detail = id === undefined ? undefined : DETAILS[first as keyof typeof DETAILS];
  const Shown = (Detail ?? current.view) as (props: { id?: string }) => unknown;
  useEffect(() => {
    document.title = `${current.label} · Loradrop`;
  }, [current]);
  return html`
    <a class="skip" href="#content" onClick=${(event: Event) => {
      event.preventDefault();
      heading.current?.focus();
    }}>Skip to the content</a>
    <header>
      <a class="brand" href="#/"><img src="/console/icon.svg" alt="" width="28" height="28" /> Loradrop</a>
      <nav aria-label="Views">
        ${VIEWS.map(
          ({ path: each, label }) =>
            html`<a href=${`#/${each}`} aria-current=${each === current.path ? 'page' : undefined}>${label}</a>`,
        )}
        <a href="/docs">API</a>
      </nav>
    </header>
    <main id="content" ref=${heading} tabindex=${-1}><${Shown} id=${id} key=${path.join('/')} /></main>
  `;
}

render(html`<${Console} />`, document.getElementById('console')!);
