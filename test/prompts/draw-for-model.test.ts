import { test } from 'tap';
import { drawForModel } from '../../src/prompts/draw-for-model.ts';
import { drawPrompts } from '../../src/prompts/draw-prompts.ts';

const DND = { family: 'dnd', condition: { prompts: 3 } } as const;
const T2L = { family: 't2l', condition: { prompts: 1 } } as const;

test('a model that takes prompts gets a draw of them', (t) => {
  const request = { given: ['a', 'b', 'c', 'd'], count: 2, seed: 7 };
  t.same(drawForModel(DND, request), drawPrompts({ ...request, wanted: 3 }));
  t.throws(() => drawForModel(DND, { given: ['a'], count: 1, seed: 7, strict: true }), {
    code: 'too-few-prompts',
  });
  t.end();
});

test('a model that takes a description gets the one text, and says clearly what it cannot do', (t) => {
  const description = 'Answer questions about physics';
  t.same(drawForModel(T2L, { given: [description], count: 1, seed: 7 }), {
    prompts: [description],
    draws: [[0]],
    warnings: [],
  });
  const refused = (change: object, message: RegExp, pointer: string) =>
    t.throws(() => drawForModel(T2L, { given: [description], count: 1, seed: 7, ...change }), {
      code: 'one-description',
      message,
      fields: [{ pointer }],
    });
  refused({ given: [description, 'b'] }, /2 texts were sent/, '/prompts');
  refused({ count: 4 }, /4 were asked for/, '/count');
  refused({ strict: true }, /Leave strictPrompts out/, '/strictPrompts');
  t.end();
});
