import { test } from 'tap';
import { createByteLru } from '../../src/base/lru.ts';

test('the least recently used go first, and only as many as must', (t) => {
  const lru = createByteLru<string>(100);
  lru.set('a', 'A', 40);
  lru.set('b', 'B', 40);
  t.equal(lru.get('a'), 'A');
  lru.set('c', 'C', 40);
  t.equal(lru.get('b'), undefined, 'b was used before a');
  t.equal(lru.get('a'), 'A');
  t.equal(lru.get('c'), 'C');
  t.same([lru.bytes, lru.size], [80, 2]);
  lru.set('d', 'D', 20);
  t.same([lru.bytes, lru.size], [100, 3], 'the bound itself is allowed');
  lru.set('e', 'E', 61);
  t.same([lru.get('a'), lru.get('c'), lru.get('d'), lru.get('e')], [undefined, undefined, 'D', 'E']);
  t.same([lru.bytes, lru.size], [81, 2]);
  t.end();
});

test('a key set again has its new value and size', (t) => {
  const lru = createByteLru<number>(100);
  lru.set('a', 1, 60);
  lru.set('a', 2, 80);
  t.same([lru.get('a'), lru.bytes, lru.size], [2, 80, 1]);
  lru.set('a', 3, 101);
  t.same(
    [lru.get('a'), lru.bytes, lru.size],
    [undefined, 0, 0],
    'too large a value replaces the old one by none',
  );
  lru.set('b', 4, 100);
  lru.set('c', 5, 101);
  t.equal(lru.get('b'), 4, 'and costs no other its place');
  t.equal(lru.get('none'), undefined);
  t.end();
});
