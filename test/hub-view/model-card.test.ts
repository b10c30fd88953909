import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { renderModelCard } from '../../src/hub-view/model-card.ts';
import type { AdapterInfo } from '../../src/jobs/adapter-info.ts';
import { sampleInfo } from './hub-samples.ts';

const card = (change: Partial<AdapterInfo> = {}, id = 'job_1') =>
  renderModelCard({
    tenant: 'team-a',
    id,
    files: [],
    createdAt: Date.parse('2026-01-02T03:04:05Z'),
    expiresAt: 0,
    contentKey: sha256('x'),
    info: sampleInfo(change),
  });

test('the card says what an adapter is for and how it was made', (t) => {
  const text = card();
  t.equal(text, card(), 'the same bytes each time');
  t.match(
    text,
    /^---\nbase_model: "test\/base"\nbase_model_relation: adapter\nlibrary_name: peft\npipeline_tag: text-generation\ntags:\n/,
  );
  for (const part of [
    '| Base model | `test/base` |',
    `| Made by | \`tiny\`, bundle \`sha256:${sha256('bundle')}\` |`,
    '| Prompts | 3, 2 of them distinct |',
    '| Seed | 7 |',
    '| Made at | 2026-01-02T03:04:05.000Z on `cpu` |',
    'PeftModel.from_pretrained(base, "team-a/job_1")',
  ]) {
    t.ok(text.includes(part), part);
  }
  t.notMatch(text, /Warnings|Licence/);
  t.ok(card({}, 'job_1--3').includes('"team-a/job_1.3"'), 'called as clients can call it');
  t.end();
});

test('warnings and licence are on it', (t) => {
  t.match(card({ trained: false }), /## Warnings\n\n- The weights of the generator are random/);
  t.match(card({ trained: false, warnings: ['It is *untrained*.'] }), /- It is \\\*untrained\\\*\./);
  const text = card({ licence: { text: 'CC BY-NC 4.0.', commercialUse: false } });
  t.match(text, /\nlicense: other\n/);
  t.match(text, /## Licence\n\nCC BY-NC 4\.0\. Commercial use: forbidden\./);
  t.end();
});

test('text of people cannot become another part of the card', (t) => {
  const text = card({ name: 'a\n---\ntags: [x]\n# <script>|`' });
  t.equal(text.match(/^---$/gm)!.length, 2);
  t.ok(text.includes('\n# a --- tags: \\[x\\] \\# \\<script\\>\\|\\`\n'));
  t.match(card({ baseModel: 'a"\nlicense: mit' }), /^---\nbase_model: "a\\"\\nlicense: mit"\n/);
  t.end();
});

test('a record of another version has no card', (t) => {
  t.throws(
    () =>
      renderModelCard({
        tenant: 'default',
        id: 'x',
        files: [],
        createdAt: 0,
        expiresAt: 0,
        contentKey: sha256('x'),
        info: {},
      }),
    { code: 'internal' },
  );
  t.end();
});
