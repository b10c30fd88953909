import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { detokenize } from '../../../../src/lora/detokenize.ts';
import type { TokenLayout } from '../../../../src/lora/layout.ts';
import { tokenizedTensors } from '../../../../src/lora/tensors.ts';
import { buildUntrainedBundle } from '../../../helpers/untrained-bundle.ts';

const bytesOf = ({ manifest }: { manifest: { files: readonly { bytes: number }[] } }) =>
  manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);

test('the untrained bundle is the same for a seed, says what it is, and makes adapters that prompts decide', async (t) => {
  const root = t.testdir();
  const first = await buildUntrainedBundle({ out: join(root, 'first'), seed: 1 });
  const second = await buildUntrainedBundle({ out: join(root, 'second'), seed: 1 });
  const other = await buildUntrainedBundle({ out: join(root, 'other'), seed: 2 });
  t.equal(first.digest, second.digest);
  t.not(first.digest, other.digest);
  const { manifest } = first;
  // The weights of seed 1 as every machine draws them.
  t.match(
    manifest.files.filter(({ name }) => name.endsWith('.data')).map(({ sha256 }) => sha256),
    [
      'f45e21898cd42e2e811877b41230283ab3f1ce03a1e9f4460f94b22ab60f44e1',
      '074fdecec576bfd500d7bf68d48b7b33943bd4fbf22511e9af5c17db468e3f27',
    ],
  );
  t.match(manifest, {
    id: 'smollm2-135m-untrained',
    trained: false,
    title: /untrained/,
    description: 'Untrained: valid files, random effect.',
    base: { id: 'HuggingFaceTB/SmolLM2-135M-Instruct' },
  });
  t.ok(bytesOf(first) < 80e6, 'it is small enough to build in a test');

  const open = (name: string) => InferenceSession.create(join(first.directory, name));
  const [encoder, decoder] = [
    await open(manifest.encoder.file),
    await open(manifest.generator.graphs[0]!.file),
  ];
  t.teardown(() => Promise.all([encoder.release(), decoder.release()]));
  const { prompts, tokens, width } = manifest.condition;
  const decode = async (firstId: number) => {
    const ids = new BigInt64Array(prompts * tokens);
    const mask = new BigInt64Array(prompts * tokens);
    for (let prompt = 0; prompt < prompts; prompt++) {
      for (let at = 0; at < 20; at++) {
        ids[prompt * tokens + at] = BigInt(firstId + prompt * 97 + at * 13);
        mask[prompt * tokens + at] = 1n;
      }
    }
    const integers = (values: BigInt64Array) => new Tensor('int64', values, [prompts, tokens]);
    const { last_hidden_state: hidden } = await encoder.run({
      input_ids: integers(ids),
      attention_mask: integers(mask),
      token_type_ids: integers(new BigInt64Array(prompts * tokens)),
    });
    const condition = new Tensor('float32', hidden!.data as Float32Array, [1, prompts, tokens, width]);
    return (await decoder.run({ condition }))['tokens']!.data as Float32Array;
  };
  const [one, two] = [await decode(2000), await decode(9000)];
  const layout = manifest.layout as TokenLayout;
  const tokenSize = (layout.rank + 2) * (layout.chunkWidth + 2);
  const deviations = { A: 0, B: 0 };
  let difference = 0;
  const tensors = tokenizedTensors(layout);
  for (const tensor of tensors) {
    const [start, end] = [tensor.tokens.start, tensor.tokens.start + tensor.tokens.count];
    const values = detokenize(one.subarray(start * tokenSize, end * tokenSize), tensor, layout);
    const others = detokenize(two.subarray(start * tokenSize, end * tokenSize), tensor, layout);
    const power = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    deviations[tensor.side] += Math.sqrt(power) / (tensors.length / 2);
    const apart = values.reduce((sum, value, at) => sum + (value - others[at]!) ** 2, 0) / values.length;
    difference += Math.sqrt(apart / power) / tensors.length;
  }
  t.ok(deviations.A > 2e-3 && deviations.A < 2e-2, `A has the size of a fresh one: ${deviations.A}`);
  t.ok(deviations.B > 2e-4 && deviations.B < 5e-3, `B has the size of a lightly tuned one: ${deviations.B}`);
  t.ok(difference > 0.1, `other prompts make another adapter: ${difference}`);
});
