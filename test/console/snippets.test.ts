/** What the console tells people to run, run as it stands where that can be done here, and read by its reader where not. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'tap';
import { parse } from 'yaml';
import { sha256 } from '../../src/base/digest.ts';
import { snippets } from '../../src/console/page/snippets.ts';
import { findProgram } from '../helpers/services.ts';
import { publishTinyAdapter } from '../helpers/tiny-adapter.ts';
import { openTinyChat, TINY_BASE_ID } from '../helpers/tiny-base.ts';
import { trainingPython } from '../helpers/training.ts';
import { startApi } from '../http/start-api.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
/** Programs that are not here: each prints what it was called with, a line an argument. */
const ABSENT = ['vllm', 'python', 'llama-server', 'ollama']
  .map((name) => `${name}() { printf '%s\n' ${name} "$@"; }`)
  .join('\n');

test('snippets of an adapter', async (t) => {
  const chat = await openTinyChat(t);
  const api = await startApi(t, { work: false, services: { chat } });
  const origin = await api.listen();
  const adapter = await publishTinyAdapter(api.store, 'key_Mine-1', {});
  const { id } = adapter;
  const all = snippets({ id, baseModel: TINY_BASE_ID, rank: 4 }, { origin, tenant: 'default' });
  const digests = Object.fromEntries(adapter.files.map((file) => [file.name, file.sha256]));
  // Outside the repository, where `loradrop` would be the repository itself.
  const folder = await mkdtemp(join(tmpdir(), 'loradrop-snippets-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const packages = join(folder, 'node_modules');
  await mkdir(join(packages, 'loradrop'), { recursive: true });
  const environment = { PATH: process.env['PATH'], HOME: folder, LORADROP_KEY: 'none' };
  const options = { cwd: folder, env: environment };
  const shell = async (script: string) =>
    (await run('bash', ['-euo', 'pipefail', '-c', `${ABSENT}\n${script}`], options)).stdout;
  const digestOf = async (path: string) => sha256(await readFile(join(folder, path)));
  const done = new Set<string>();
  const snippet = (name: string) => {
    done.add(name);
    return all[name]!;
  };

  await t.test('curl fetches the weights and asks the adapter', async (t) => {
    const printed = await shell(snippet('curl'));
    t.equal(await digestOf('adapter_model.safetensors'), digests['adapter_model.safetensors']);
    t.match(JSON.parse(printed), {
      choices: [{ message: { content: String } }],
      model: `${TINY_BASE_ID}+${id}`,
    });
  });

  await t.test('the client fetches and verifies all files', async (t) => {
    // The package as it is installed is test/package.test.ts's; this is its client from the sources.
    const client = pathToFileURL(join(root, 'src/client/client.ts')).href;
    const manifest = { name: 'loradrop', type: 'module', exports: { './client': './client.js' } };
    await writeFile(join(packages, 'loradrop', 'package.json'), JSON.stringify(manifest));
    await writeFile(join(packages, 'loradrop', 'client.js'), `export * from '${client}';\n`);
    const work = join(folder, 'js');
    await mkdir(work);
    await writeFile(join(work, 'snippet.mjs'), snippet('JavaScript'));
    await run(process.execPath, ['snippet.mjs'], { ...options, cwd: work });
    for (const [name, digest] of Object.entries(digests))
      t.equal(await digestOf(join('js', name)), digest, name);
  });

  await t.test('the openai client asks the adapter', async (t) => {
    await symlink(join(root, 'node_modules/openai'), join(packages, 'openai'));
    await writeFile(join(folder, 'openai.mjs'), snippet('OpenAI'));
    const { stdout } = await run(process.execPath, ['openai.mjs'], options);
    t.ok(stdout.length > 1);
  });

  await t.test('vLLM and SGLang get a directory that is there and JSON that can be read', async (t) => {
    for (const name of ['vLLM', 'SGLang']) {
      // The servers are not here, so the calls that load at them print what they would send.
      const servers = `curl() { case "$1" in localhost*) printf '%s\n' "$@" ;; *) command curl "$@" ;; esac; }\n`;
      const printed = await shell(servers + snippet(name));
      const body = JSON.parse(printed.split('\n').find((line) => line.startsWith('{"lora_name"'))!);
      t.equal(body.lora_name, id);
      t.equal(body.lora_path, join(folder, id), name);
      t.equal(await digestOf(join(id, 'adapter_model.safetensors')), digests['adapter_model.safetensors']);
      t.match(printed, /^--max-lora-rank$/m);
    }
  });

  await t.test('llama.cpp and Ollama get a GGUF file', async (t) => {
    t.match(await shell(snippet('llama.cpp')), /^--lora\nkey_Mine-1\.gguf$/m);
    t.equal((await readFile(join(folder, `${id}.gguf`))).toString('latin1', 0, 4), 'GGUF');
    t.match(await shell(snippet('Ollama')), /^create\nkey-mine-1\n-f\nModelfile$/m);
    t.equal(await readFile(join(folder, 'Modelfile'), 'utf8'), `FROM ./base.gguf\nADAPTER ./${id}.gguf\n`);
  });

  await t.test('KServe gets a manifest whose name Kubernetes takes', async (t) => {
    const manifest = parse(snippet('KServe'));
    t.match(manifest, { kind: 'InferenceService', spec: { predictor: { model: { args: Array } } } });
    t.match(manifest.metadata.name, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);
    t.ok(manifest.spec.predictor.model.args.includes(`${id}=default/${id}`));
    t.strictSame(manifest.spec.predictor.model.env, [{ name: 'HF_ENDPOINT', value: origin }]);
  });

  await t.test('PEFT loads the adapter from the service', async (t) => {
    const text = snippet('PEFT');
    const python = trainingPython();
    const file = join(folder, 'snippet.py');
    await writeFile(file, text);
    const reader = python ?? findProgram('python3');
    if (reader) await run(reader, ['-m', 'py_compile', file]);
    if (!python) {
      t.comment('NOT RUN: there is no Python with PEFT; the snippet was only parsed.');
      return;
    }
    const base = join(folder, 'base');
    await writeFile(
      file,
      `${MAKE_BASE}\nmake(${JSON.stringify(base)})\n${text.replace('/path/to/base', base)}\nprint(model.peft_config["default"].r)\n`,
    );
    const env = { ...environment, HF_ENDPOINT: origin, HF_TOKEN: 'none', HF_HUB_DISABLE_TELEMETRY: '1' };
    const { stdout } = await run(python, [file], { cwd: folder, env });
    t.equal(stdout.trim(), '4');
  });

  t.strictSame([...done].sort(), Object.keys(all).sort(), 'no snippet is left out');
});

/** A Llama of the tiny base's shape with random weights. */
const MAKE_BASE = `from transformers import LlamaConfig, LlamaForCausalLM
def make(path):
    LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, vocab_size=260)).save_pretrained(path)
`;
