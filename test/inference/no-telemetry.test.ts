import { execFile } from 'node:child_process';
import { glob, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';

const source = join(import.meta.dirname, '..', '..', 'src');

test('ONNX Runtime is loaded in one place, where its telemetry is off and leaves nothing behind', async (t) => {
  const importers: string[] = [];
  for await (const file of glob('**/*.ts', { cwd: source })) {
    if (/from 'onnxruntime-node'/.test(await readFile(join(source, file), 'utf8'))) importers.push(file);
  }
  t.strictSame(importers, ['inference/onnx-runtime.ts']);

  const graph = createGraphBuilder('probe');
  graph.node('y', 'Neg', [graph.input('x', 'float32', [1])]);
  graph.output('y', 'float32', [1]);
  const directory = t.testdir({ silent: {}, telling: {}, 'probe.onnx': Buffer.from(graph.encode()) });
  // Few variables: where those of a CI service are set, the library keeps still by itself.
  const { PATH, HOME } = process.env;
  const load = async (name: string, module: string) => {
    const TMPDIR = join(directory, name);
    const [from, model] = [module, join(directory, 'probe.onnx')].map((text) => JSON.stringify(text));
    const code = `import(${from}).then(({ InferenceSession }) => InferenceSession.create(${model}))`;
    await promisify(execFile)(process.execPath, ['--eval', code], { env: { PATH, HOME, TMPDIR } });
    return readdir(TMPDIR);
  };
  t.strictSame(await load('silent', join(source, 'inference', 'onnx-runtime.ts')), []);
  if (process.platform === 'linux') {
    t.not(
      (await load('telling', import.meta.resolve('onnxruntime-node'))).length,
      0,
      'what would be there otherwise',
    );
  }
});
