import { test } from 'tap';
import { parseModelAliases } from '../../src/config/model-aliases.ts';

test('aliases', (t) => {
  t.strictSame([...parseModelAliases(undefined)], []);
  t.strictSame(
    [...parseModelAliases(' gpt-4o-mini = science , ft:x=HuggingFaceTB/SmolLM2-135M-Instruct,')],
    [
      ['gpt-4o-mini', 'science'],
      ['ft:x', 'HuggingFaceTB/SmolLM2-135M-Instruct'],
    ],
  );
  for (const text of ['gpt', '=x', 'a=', 'a=b,a=c', `${'x'.repeat(301)}=b`]) {
    t.throws(() => parseModelAliases(text), { code: 'settings-invalid' }, text);
  }
  t.end();
});
