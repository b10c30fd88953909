import { test } from 'tap';
import { findBase } from '../../src/lora/bases.ts';
import {
  loraStacks,
  loraTensors,
  tokenCount,
  tokenizedTensors,
  tokensPerLayer,
} from '../../src/lora/tensors.ts';

/** Token offsets inside a layer, inclusive, as spec §3.2 prints them. */
const OFFSETS = {
  'qwen2.5-0.5b':
    'q A0-6 B7-13 | k A14-20 B21 | v A22-28 B29 | o A30-36 B37-43 | up A44-50 B51-88 | gate A89-95 B96-133 | down A134-171 B172-178',
  'qwen2.5-1.5b':
    'q A0-5 B6-11 | k A12-17 B18 | v A19-24 B25 | o A26-31 B32-37 | up A38-43 B44-78 | gate A79-84 B85-119 | down A120-154 B155-160',
  'qwen2.5-vl-3b':
    'q A0-7 B8-15 | k A16-23 B24 | v A25-32 B33 | o A34-41 B42-49 | up A50-57 B58-100 | gate A101-108 B109-151 | down A152-194 B195-202',
  'qwen2.5-7b':
    'q A0-6 B7-13 | k A14-20 B21 | v A22-28 B29 | o A30-36 B37-43 | up A44-50 B51-87 | gate A88-94 B95-131 | down A132-168 B169-175',
};

test('tokens lie where the published layouts have them', (t) => {
  for (const [alias, line] of Object.entries(OFFSETS)) {
    const { layout } = findBase(alias)!;
    const perLayer = tokensPerLayer(layout);
    const tensors = tokenizedTensors(layout);
    for (const layer of [0, layout.layers - 1]) {
      const printed = layout.modules.map((module) => {
        const ranges = (['A', 'B'] as const).map((side) => {
          const { tokens } = tensors.find(
            (tensor) => tensor.layer === layer && tensor.module === module && tensor.side === side,
          )!;
          const first = tokens.start - layer * perLayer;
          return `${side}${first}${tokens.count > 1 ? `-${first + tokens.count - 1}` : ''}`;
        });
        return `${/([a-z]+)_proj$/.exec(module.path)![1]} ${ranges.join(' ')}`;
      });
      t.equal(printed.join(' | '), line, `${alias}, layer ${layer}`);
    }
    const ranges = tensors.map(({ tokens }) => tokens).sort((a, b) => a.start - b.start);
    let next = 0;
    for (const { start, count } of ranges) {
      if (start !== next) t.fail(`${alias}: token ${next} belongs to nobody or to two`);
      next = start + count;
    }
    t.equal(next, tokenCount(layout), `${alias}: every token belongs to one tensor`);
  }
  t.end();
});

test('tensors come stack by stack, layer 2 before layer 10, and are those that tokens make', (t) => {
  const { layout } = findBase('smollm2-135m')!;
  const tensors = loraTensors(layout);
  const names = tensors.map(({ name }) => name);
  t.same(
    [...names].sort(),
    tokenizedTensors(layout)
      .map(({ name }) => name)
      .sort(),
  );
  t.equal(new Set(names).size, names.length);
  t.same(names.slice(0, 2), [
    'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight',
    'base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight',
  ]);
  t.equal(names[layout.layers], 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight');
  const sizes = loraStacks(layout).map(({ shape }) => shape.reduce((a, b) => a * b));
  const own = sizes.map((_, index) =>
    tensors
      .slice(index * layout.layers, (index + 1) * layout.layers)
      .reduce((sum, { shape }) => sum + shape[0] * shape[1], 0),
  );
  t.same(own, sizes, 'a stack is its tensors one after the other');
  t.end();
});
