import { test } from 'tap';
import { unpickleTorchObject } from '../../../../../src/models/import/checkpoint/torch/objects.ts';

/** Opcodes of a persistent id: a storage of floats with the given key and number of elements. */
const storage = (key: string, elements: number, storageClass = 'FloatStorage', extra = '') =>
  `(${text('storage')}ctorch\n${storageClass}\n${text(key)}${text('cpu')}K${String.fromCharCode(elements)}${extra}tQ`;
const text = (value: string) => `X${String.fromCharCode(value.length)}\0\0\0${value}`;
const rebuild = (name: string, args: string) => `ctorch._utils\n${name}\n(${args}tR`;
const run = (opcodes: string) => unpickleTorchObject(Buffer.from(`\x80\x02${opcodes}.`, 'latin1'));

/** Offset 1, size (2, 3), strides (3, 1). */
const view = 'K\x01K\x02K\x03\x86K\x03K\x01\x86';
const expected = {
  kind: 'tensor',
  storage: { kind: 'storage', key: '0', dtype: 'F32', elements: 9 },
  offset: 1,
  shape: [2, 3],
  strides: [3, 1],
};

test('tensors are rebuilt from every form PyTorch has written', (t) => {
  const v2 = rebuild('_rebuild_tensor_v2', `${storage('0', 9)}${view}\x89ccollections\nOrderedDict\n)R`);
  t.same(run(v2).value, expected);
  t.same(run(rebuild('_rebuild_tensor', `${storage('0', 9)}${view}`)).value, expected, 'before 0.4');
  t.same(
    run(rebuild('_rebuild_tensor_v2', `${storage('0', 9)}${view}\x89}N`)).value,
    expected,
    'without metadata',
  );
  t.same(run(rebuild('_rebuild_parameter', `${v2}\x88}`)).value, expected, 'nn.Parameter');
  t.same(
    run(rebuild('_rebuild_tensor_v2', `${storage('0', 9, 'FloatStorage', 'N')}${view}\x89}`)).value,
    expected,
  );
  t.same(run('ctorch\nSize\nK\x02K\x03\x86\x85R').value, [2, 3]);
  t.same(run('ctorch\nbfloat16\n').value, { kind: 'dtype', dtype: 'BF16' });
  for (const [storageClass, dtype] of [
    ['DoubleStorage', 'F64'],
    ['HalfStorage', 'F16'],
    ['BFloat16Storage', 'BF16'],
    ['LongStorage', 'I64'],
    ['BoolStorage', 'BOOL'],
  ] as const) {
    t.equal(run(storage('7', 3, storageClass)).storages.get('7')?.dtype, dtype);
  }
  t.end();
});

test('tensors share the storage of a key', (t) => {
  const tensor = rebuild('_rebuild_tensor', `${storage('0', 9)}${view}`);
  const { value, storages } = run(`${tensor}${tensor}\x86`);
  const [first, second] = value as { storage: unknown }[];
  t.equal(first!.storage, second!.storage);
  t.equal(storages.size, 1);
  t.end();
});

test('sizes changed behind the rebuilt tensor do not change it', (t) => {
  // The size is a remembered list, to which the pickle appends after the call.
  const list = ']q\x01(K\x02K\x03e';
  const tensor = rebuild('_rebuild_tensor', `${storage('0', 9)}K\x01${list}K\x03K\x01\x86`);
  const { value } = run(`${tensor}h\x01K\x63a\x86`);
  t.same((value as unknown[])[0], expected);
  t.end();
});

test('what is no tensor that torch.save writes is refused', (t) => {
  const tensor = (args: string) => rebuild('_rebuild_tensor_v2', args);
  for (const [opcodes, message] of [
    [tensor('K\x01K\x01))'), /something else than a storage/],
    [tensor(`${storage('0', 9)}${view}\x89}NN`), /something else than a storage/],
    [tensor(`${storage('0', 9)}K\x01)`), /something else than a storage/],
    [tensor(`${storage('0', 9)}J\xff\xff\xff\xff))`), /storage 0 has no usable offset/],
    [tensor(`${storage('0', 9)}K\0K\x02\x85)`), /no usable offset, size and strides/],
    [tensor(`${storage('0', 9)}K\0K\x02\x85J\xff\xff\xff\xff\x85`), /no usable offset/],
    [tensor(`${storage('0', 9)}K\0G\x3f\xf8\0\0\0\0\0\0\x85K\x01\x85`), /no usable offset/],
    [tensor(`${storage('0', 9)}K\0(${'K\x01'.repeat(9)}t(${'K\x01'.repeat(9)}t`), /at most 8 axes/],
    [tensor(`${storage('0', 9)}${view}\x89}}${text('conj')}\x88s`), /negated or conjugated/],
    [rebuild('_rebuild_parameter', 'K\x01\x88}'), /parameter of something that is no tensor/],
    [rebuild('_rebuild_wrapper_subclass', 'K\x01'), /asks for torch\._utils\._rebuild_wrapper_subclass, /],
    [`${storage('0', 9)}${storage('0', 8)}\x86`, /Storage 0 is described in two ways/],
    [`${storage('0', 9)}${storage('0', 9, 'IntStorage')}\x86`, /Storage 0 is described in two ways/],
    [storage('../0', 9), /no usable key/],
    [storage('', 9), /no usable key/],
    [storage('0', 9, 'ComplexDoubleStorage'), /asks for torch\.ComplexDoubleStorage, /],
    [storage('0', 9, 'FloatStorage', `(${text('1')}K\x01K\x02t`), /view of another storage/],
    [`(${text('storage')}K\x01${text('0')}${text('cpu')}K\x01tQ`, /no class of a storage/],
    [`(${text('storage')}ctorch\nFloatStorage\n${text('0')}${text('cpu')}NtQ`, /no number of elements/],
    [`(${text('module')}NNNtQ`, /no storage/],
    ['K\x01Q', /no storage/],
    ['ctorch\nSize\nK\x02\x85R', /torch\.Size of something else/],
    ['ccollections\nOrderedDict\n]\x85R', /fills an OrderedDict/],
  ] as const) {
    t.throws(() => run(opcodes), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.end();
});

test('tensors and storages are limited in number', (t) => {
  // The function and its arguments are remembered, so that a call takes five bytes.
  const first = `ctorch._utils\n_rebuild_tensor\nq\x01(${storage('0', 9)}${view}tq\x02R`;
  const tensors = (count: number) => run(`](${first}${'h\x01h\x02R'.repeat(count - 1)}e`);
  t.equal((tensors(8192).value as unknown[]).length, 8192);
  t.throws(() => tensors(8193), { code: 'checkpoint-invalid', message: /more than 8192 tensors/ });
  const storages = (count: number) =>
    run(`](${Array.from({ length: count }, (_, index) => storage(`${index}`, 1)).join('')}e`);
  t.equal(storages(8192).storages.size, 8192);
  t.throws(() => storages(8193), { code: 'checkpoint-invalid', message: /more than 8192 storages/ });
  t.end();
});
