import { test } from 'tap';
import { LoradropError } from '../../../../../src/base/errors.ts';
import { seededRandom } from '../../../../../src/base/random.ts';
import { type PickleRules, unpickle } from '../../../../../src/models/import/checkpoint/torch/unpickle.ts';

const nothing: PickleRules = { globals: new Map() };

/** Runs opcodes written as text, a byte a letter. */
const run = (opcodes: string, rules = nothing) => unpickle(Buffer.from(opcodes, 'latin1'), rules).value;

/**
 * What CPython's `pickle.dumps` makes of `{'a': [1, -2, 300, 70000], 'b': (1.5, None, True), 'ü': 2**40, 'n': -(2**70),
 * 'e': ((), [], {}), 't': (1,), 'p': ('x', 'y'), 'bytes': b'\x01\x02', 'nested': {'again': False}, 'shared': [s, s]}` with
 * `s = [1, 2]`, by protocol; protocol 2 has no bytes.
 */
const dumped = {
  2: 'gAJ9cQAoWAEAAABhcQFdcQIoSwFK/v///00sAUpwEQEAZVgBAAAAYnEDRz/4AAAAAAAAToiHcQRYAgAAAMO8cQWKBgAAAAAAAVgBAAAAbnEGigkAAAAAAAAAAMBYAQAAAGVxByldcQh9cQmHcQpYAQAAAHRxC0sBhXEMWAEAAABwcQ1YAQAAAHhxDlgBAAAAeXEPhnEQWAYAAABuZXN0ZWRxEX1xElgFAAAAYWdhaW5xE4lzWAYAAABzaGFyZWRxFF1xFShdcRYoSwFLAmVoFmV1Lg==',
  3: 'gAN9cQAoWAEAAABhcQFdcQIoSwFK/v///00sAUpwEQEAZVgBAAAAYnEDRz/4AAAAAAAAToiHcQRYAgAAAMO8cQWKBgAAAAAAAVgBAAAAbnEGigkAAAAAAAAAAMBYAQAAAGVxByldcQh9cQmHcQpYAQAAAHRxC0sBhXEMWAEAAABwcQ1YAQAAAHhxDlgBAAAAeXEPhnEQWAUAAABieXRlc3ERQwIBAnESWAYAAABuZXN0ZWRxE31xFFgFAAAAYWdhaW5xFYlzWAYAAABzaGFyZWRxFl1xFyhdcRgoSwFLAmVoGGV1Lg==',
  4: 'gASVowAAAAAAAAB9lCiMAWGUXZQoSwFK/v///00sAUpwEQEAZYwBYpRHP/gAAAAAAABOiIeUjALDvJSKBgAAAAAAAYwBbpSKCQAAAAAAAAAAwIwBZZQpXZR9lIeUjAF0lEsBhZSMAXCUjAF4lIwBeZSGlIwFYnl0ZXOUQwIBApSMBm5lc3RlZJR9lIwFYWdhaW6UiXOMBnNoYXJlZJRdlChdlChLAUsCZWgYZXUu',
  5: 'gAWVowAAAAAAAAB9lCiMAWGUXZQoSwFK/v///00sAUpwEQEAZYwBYpRHP/gAAAAAAABOiIeUjALDvJSKBgAAAAAAAYwBbpSKCQAAAAAAAAAAwIwBZZQpXZR9lIeUjAF0lEsBhZSMAXCUjAF4lIwBeZSGlIwFYnl0ZXOUQwIBApSMBm5lc3RlZJR9lIwFYWdhaW6UiXOMBnNoYXJlZJRdlChdlChLAUsCZWgYZXUu',
};

test('plain values of every protocol come out as they went in', (t) => {
  for (const [protocol, base64] of Object.entries(dumped)) {
    const bytes = Buffer.from(base64, 'base64');
    const { value, end } = unpickle(
      Buffer.concat([Buffer.from('skipped'), bytes, Buffer.from('rest')]),
      nothing,
      7,
    );
    t.equal(end, 7 + bytes.length);
    const dict = value as Map<string, unknown>;
    const expected = new Map<string, unknown>([
      ['a', [1, -2, 300, 70_000]],
      ['b', [1.5, null, true]],
      ['ü', 2 ** 40],
      ['n', -(2n ** 70n)],
      ['e', [[], [], new Map()]],
      ['t', [1]],
      ['p', ['x', 'y']],
      ...(protocol === '2' ? [] : [['bytes', Buffer.from([1, 2])] as const]),
      ['nested', new Map([['again', false]])],
      [
        'shared',
        [
          [1, 2],
          [1, 2],
        ],
      ],
    ]);
    t.same([...dict], [...expected], `protocol ${protocol}`);
    const [first, second] = dict.get('shared') as unknown[];
    t.equal(first, second, 'what was one object is one object');
  }
  t.end();
});

test('only what the table allows is found, called or stood for', (t) => {
  const rules: PickleRules = {
    globals: new Map<string, unknown>([
      ['shop.add', ([a, b]: readonly number[]) => a! + b!],
      ['shop.name', 'corner'],
    ]),
    persistentLoad: (id) => ['loaded', id],
  };
  t.equal(run('\x80\x02cshop\nadd\nK\x02K\x03\x86R.', rules), 5);
  t.equal(run('\x80\x04\x8c\x04shop\x8c\x03add\x93K\x02K\x03\x86R.', rules), 5);
  t.equal(run('cshop\nname\n.', rules), 'corner');
  t.same(run('K\x07Q.', rules), ['loaded', 7]);
  t.same(run('}}K\x01K\x02sb.'), new Map(), 'attributes of a dict are left out');
  for (const [opcodes, message] of [
    ['cos\nsystem\nX\x02\0\0\0ls\x85R.', /asks for os\.system, which is no tensor/],
    ['\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.', /asks for os\.system, /],
    ['cshop\nremove\n.', /asks for shop\.remove, /],
    ['cbuiltins\n__import__\n.', /asks for builtins\.__import__, /],
    ['cshop\x1b[2J\nname\n.', /asks for shop\\u001b\[2J\.name, /],
    [`c${'m'.repeat(257)}\nname\n.`, /no end within 256 bytes/],
    ['cshop\nname', /no end within 256 bytes/],
    ['K\x01K\x02\x93.', /global without a name/],
    ['cshop\nname\n)R.', /calls something that is no function/],
    ['cshop\nadd\nK\x01R.', /calls something that is no function/],
    ['cshop\nname\n}b.', /attributes to something that is no dict/],
  ] as const) {
    t.throws(() => run(opcodes, rules), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.throws(() => run('K\x07Q.'), { code: 'checkpoint-invalid', message: /an object outside of it/ });
  t.end();
});

test('opcodes that make or find objects are refused', (t) => {
  // INST, OBJ, EXT1, PERSID, DUP, and an opcode that does not exist.
  for (const opcode of ['i', 'o', '\x82', 'P', '2', '\xff']) {
    const hex = opcode.charCodeAt(0).toString(16);
    t.throws(() => run(`))${opcode}.`), {
      code: 'checkpoint-invalid',
      message: new RegExp(`0x${hex}, which`),
    });
  }
  // NEWOBJ and NEWOBJ_EX make objects of bookkeeping alone, which are nothing but a name.
  for (const opcodes of [')))\x92.', '))\x81.', 'N)\x81.']) {
    t.throws(() => run(opcodes), { code: 'checkpoint-invalid', message: /something that is no class/ });
  }
  t.end();
});

test('what training keeps beside weights is passed over by its name', (t) => {
  const name = (kind: string) => ({ kind: 'inert', name: kind });
  for (const [opcodes, value] of [
    ['cargparse\nNamespace\n)\x81}X\x02\0\0\0lrK\x01sb.', name('argparse.Namespace')],
    ['cnumpy.core.multiarray\nscalar\n)R.', name('numpy.core.multiarray.scalar')],
    ['cpathlib\nPosixPath\n)R.', name('pathlib.PosixPath')],
    ['ccollections\ndefaultdict\n)RK\x01K\x02s.', name('collections.defaultdict')],
    ['ccollections\ndeque\n)R(K\x01e.', name('collections.deque')],
    ['\x8f(K\x01K\x02\x90.', [1, 2]],
    ['(K\x01\x91.', [1]],
    ['\x8b\x02\0\0\0\x01\x01.', 257],
    ['\x8d\x02\0\0\0\0\0\0\0ab.', 'ab'],
    ['\x96\x02\0\0\0\0\0\0\0ab.', new Uint8Array([97, 98])],
  ] as const) {
    t.same(run(opcodes), value, JSON.stringify(opcodes));
  }
  for (const [opcodes, message] of [
    ['cargparse\n_sys\n.', /asks for argparse\._sys, which is no tensor/],
    ['cbuiltins\neval\n.', /asks for builtins\.eval, /],
    ['cbuiltins\ngetattr\n.', /asks for builtins\.getattr, /],
    ['cnumpy.testing\nrundocs\n.', /asks for numpy\.testing\.rundocs, /],
    ['c__main__\nConfig\n.', /asks for __main__\.Config, .* a whole module or object; nothing of it was run/],
    ['ctorch.distributed._shard.sharded_tensor.api\nShardedTensor\n.', /a shard of a checkpoint .*FSDP/],
    ['cbitsandbytes.nn.modules\nParams4bit\n.', /a quantised weight/],
    ['\x8e\xff\xff\xff\xff\xff\xff\xff\xff.', /cut off/],
  ] as const) {
    t.throws(() => run(opcodes), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.end();
});

test('a pickle that is malformed or beyond the limits is refused', (t) => {
  for (const [opcodes, message] of [
    ['', /cut off/],
    ['K', /cut off/],
    ['X\xff\xff\xff\xffab', /cut off/],
    ['X\x01\0\0\0\xff.', /not UTF-8/],
    ['.', /takes a value it does not have/],
    ['NN.', /ends in the middle/],
    ['N(.', /takes a value it does not have/],
    ['N(0.', /opcode 0x30/],
    ['t.', /closes a container/],
    ['K\x01K\x02a.', /no list/],
    ['K\x01(K\x02e.', /no list/],
    ['K\x01K\x02K\x03s.', /no dict/],
    ['}(K\x02u.', /no dict/],
    ['h\x01.', /has not remembered/],
    ['q\x01.', /takes a value it does not have/],
    ['\x8a\x11', /integer of 17 bytes/],
    ['\x80\x01N.', /protocol 1;/],
    ['\x80\x06N.', /protocol 6;/],
    ['N'.repeat(65_537), /more than 65536 values on its stack/],
    ['('.repeat(65), /deeper than 64 containers/],
    [`N${'\x94'.repeat(131_073)}.`, /remembers more than 131072/],
  ] as const) {
    t.throws(() => run(opcodes), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.equal(Array.isArray(run(`${'('.repeat(64)}${'t'.repeat(64)}.`)), true, 'the deepest that is allowed');
  t.end();
});

test('whatever bytes are wrong, the pickle is read or refused', (t) => {
  const random = seededRandom(3);
  const good = Buffer.from(dumped[4], 'base64');
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(good);
    for (let change = 0; change < 3; change++)
      bytes[(random.next() >>> 0) % bytes.length] = random.next() & 0xff;
    try {
      unpickle(bytes, nothing);
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof LoradropError)) throw error;
      outcomes.refused++;
    }
  }
  t.ok(outcomes.read > 100 && outcomes.refused > 100, JSON.stringify(outcomes));
  t.end();
});
