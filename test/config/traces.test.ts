import { test } from 'tap';
import { loadConfig, ownEnvironment } from '../../src/config/load.ts';
import { traceUrl } from '../../src/config/traces.ts';

test('where traces go follows the conventions of OTLP', async (t) => {
  const urlOf = (environment: NodeJS.ProcessEnv) => traceUrl(loadConfig({}, environment));
  t.equal(urlOf({}), undefined, 'nowhere unless it is said');
  t.equal(urlOf({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }), undefined, 'an empty variable counts as unset');
  t.equal(urlOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }), 'http://c:4318/v1/traces');
  t.equal(urlOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c/otlp/' }), 'https://c/otlp/v1/traces');
  const own = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://d/in' };
  t.equal(urlOf(own), 'http://d/in', 'the one of traces is taken as it is');
  t.equal(urlOf({ ...own, OTEL_SDK_DISABLED: 'true' }), undefined);
  for (const endpoint of ['collector:4317', 'grpc://c:4317', 'c']) {
    t.throws(
      () => urlOf({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }),
      { code: 'settings-invalid', message: /OTEL_EXPORTER_OTLP_ENDPOINT/ },
      endpoint,
    );
  }
});

test('samplers and their share are checked', async (t) => {
  t.match(loadConfig({}, {}), { otelTracesSampler: 'parentbased_always_on', otelTracesSamplerArg: 1 });
  t.match(loadConfig({}, { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.25' }), {
    otelTracesSampler: 'traceidratio',
    otelTracesSamplerArg: 0.25,
  });
  for (const bad of [
    { OTEL_TRACES_SAMPLER: 'jaeger_remote' },
    { OTEL_TRACES_SAMPLER_ARG: '1.5' },
    { OTEL_TRACES_SAMPLER_ARG: '1e-3x' },
  ]) {
    t.throws(() => loadConfig({}, bad), { code: 'settings-invalid' });
  }
});

test('the exporter’s headers are not handed on to other processes', async (t) => {
  const names = ['OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_EXPORTER_OTLP_TRACES_HEADERS'];
  for (const name of names) process.env[name] = 'authorization=Bearer%20secret';
  t.teardown(() => {
    for (const name of names) delete process.env[name];
  });
  t.notMatch(JSON.stringify(ownEnvironment()), /Bearer/);
});
