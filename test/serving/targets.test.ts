import { test } from 'tap';
import { listReplicas } from '../../src/serving/replicas.ts';
import { servedName } from '../../src/serving/served-name.ts';
import { checkFit, findTarget, parseTargets, type Target } from '../../src/serving/targets.ts';

const TARGET: Target = {
  name: 'chat',
  kind: 'vllm',
  replicas: ['http://vllm-0:8000'],
  bases: ['org/base'],
  maxRank: 16,
  tenants: ['team-a'],
  reach: 'hub',
};
const file = (...targets: object[]) => JSON.stringify({ version: 1, targets });

test('a file of targets', async (t) => {
  t.same(parseTargets(file(TARGET)), [TARGET]);
  const { replicas: _, ...rest } = TARGET;
  t.ok(parseTargets(file({ ...rest, dns: 'https://vllm.svc:8000' })));
  for (const [wrong, why] of [
    ['{', /not JSON/],
    [file({ ...TARGET, kind: 'ollama' }), /targets\/0\/kind/],
    [file({ ...TARGET, secret: 'x' }), /targets\/0/],
    [file(rest), /either replicas or dns/],
    [file({ ...TARGET, dns: 'http://x' }), /either replicas or dns/],
    [file({ ...TARGET, replicas: ['http://user:password@x'] }), /keyFile/],
    [file({ ...TARGET, replicas: ['http://x/v1'] }), /host alone/],
    [file({ ...TARGET, replicas: ['ftp://x'] }), /host alone/],
    [file({ ...TARGET, tenants: ['Not One'] }), /tenant/],
    [file({ ...TARGET, reach: 's3' }), /LoRAX alone/],
    [file({ ...TARGET, kind: 'llama-server' }), /directory alone/],
    [file({ ...TARGET, reach: { directory: 'relative' } }), /reach/],
    [file(TARGET, TARGET), /same name/],
  ] as const) {
    t.throws(() => parseTargets(wrong), { code: 'deploy-targets-invalid', message: why }, wrong);
  }
});

test('a target is there for its tenants alone', async (t) => {
  const targets = [TARGET, { ...TARGET, name: 'all', tenants: ['*'] }];
  t.equal(findTarget(targets, 'team-a', 'chat').name, 'chat');
  t.equal(findTarget(targets, 'team-b', 'all').name, 'all');
  t.throws(() => findTarget(targets, 'team-b', 'chat'), {
    code: 'deploy-target-unknown',
    message: 'Yours are all.',
  });
});

test('what a target takes', async (t) => {
  const fit = { base: 'org/base', rank: 16, gguf: false };
  checkFit(TARGET, fit);
  checkFit(TARGET, { ...fit, rank: undefined });
  const refused = (target: Target, adapter: object, message: RegExp) =>
    t.throws(() => checkFit(target, { ...fit, ...adapter }), { code: 'deploy-unfit', message });
  refused(TARGET, { rank: 17 }, /up to 16; the adapter has 17/);
  refused(TARGET, { base: 'org/other' }, /the adapter is for org\/other/);
  refused({ ...TARGET, kind: 'llama-server' }, {}, /GGUF/);
});

test('a host name stands for all its addresses', async (t) => {
  const { replicas: _, ...rest } = TARGET;
  const found = await listReplicas({ ...rest, dns: 'http://vllm.svc:8000' }, async (host) => {
    t.equal(host, 'vllm.svc');
    return [
      { address: '10.0.0.2' },
      { address: 'fd00::1' },
      { address: '10.0.0.1' },
      { address: '10.0.0.2' },
    ];
  });
  t.same(
    found.map(({ name, address }) => [name, address]),
    [
      ['10.0.0.1:8000', '10.0.0.1'],
      ['10.0.0.2:8000', '10.0.0.2'],
      ['[fd00::1]:8000', 'fd00::1'],
    ],
  );
  await t.rejects(
    listReplicas({ ...rest, dns: 'http://vllm.svc' }, () => Promise.reject(new Error('ENOTFOUND'))),
    { code: 'replica-unavailable' },
  );
});

test('names at servers', async (t) => {
  t.equal(servedName('team-a', 'science', 'a'.repeat(40)), `team-a/science@${'a'.repeat(12)}`);
});
