import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import packageJson from '../package.json' with { type: 'json' };

const read = (name: string) => readFile(join(import.meta.dirname, '..', name), 'utf8');

test('the images have the versions that the tests have', async (t) => {
  const [, node] = /^ARG NODE_IMAGE=node:([\d.]+)-/m.exec(await read('Dockerfile')) ?? [];
  t.equal(node, packageJson.devDependencies.node);
  const [, provider] = /^onnxruntime-gpu==([\d.]+) /m.exec(await read('docker/cuda-requirements.txt')) ?? [];
  t.equal(provider, packageJson.dependencies['onnxruntime-node'], 'a provider fits its own release alone');
});
