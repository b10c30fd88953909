/** A Text-to-LoRA bundle of random weights for the tiny Llama of `test/helpers`. */
import { join } from 'node:path';
import type { Bundle } from '../../../../src/models/bundle.ts';
import { importCheckpoint } from '../../../../src/models/import/import-checkpoint.ts';
import type { Hypernetwork } from '../../../../src/models/import/t2l/hypernetwork.ts';
import { syntheticHypernetwork } from '../../../../src/models/import/t2l/synthetic-hypernetwork.ts';
import { TINY_LAYOUT } from '../../../helpers/tiny-llama.ts';
import { IMPORT_FACTS } from '../../small-bundle.ts';
import { writeRotaryEncoder } from './rotary-encoder.ts';

const WIDTH = 24;
const HEADS = { heads: 4, kvHeads: 2 };
/** What the amplitudes of synthetic hypernetworks are multiplied with, so that their adapters change logits. */
const LOUDER = 30;

/** Imports it; the encoder lies in `directory`. */
export async function importTinyLlamaT2l(directory: string, out: string): Promise<Bundle> {
  const encoderDirectory = join(directory, 'gte');
  await writeRotaryEncoder(encoderDirectory, WIDTH);
  const { chunkWidth: _, ...layout } = TINY_LAYOUT;
  const named = (name: string) => layout.modules.find(({ path }) => path === `self_attn.${name}`)!;
  const network: Hypernetwork = {
    width: WIDTH,
    layers: layout.layers,
    rank: 4,
    parts: [8, 4, 4],
    inner: { mixer: 64, mlp1: 64, mlp2: 64, mlp3: 64 },
    headIn: 32,
    modules: ['v_proj', 'q_proj'].map((name) => ({ name, in: named(name).in, out: named(name).out })),
    headBias: true,
    sharedHead: false,
    scale: { kind: 'direct' },
    offset: false,
  };
  const drawn = syntheticHypernetwork(network, 3);
  return await importCheckpoint({
    ...IMPORT_FACTS,
    id: 'tiny-llama-t2l',
    checkpoint: {
      stateDict: {
        ...drawn,
        async *stream(name, options) {
          const factor = name.startsWith('heads.') ? LOUDER : 1;
          for await (const chunk of drawn.stream(name, options)) yield chunk.map((value) => value * factor);
        },
      },
      args: { training_task: 'sft', emb_model: 'gte' },
      config: {
        peft_type: 'LORA',
        r: 4,
        lora_alpha: 6,
        use_rslora: true,
        target_modules: ['q_proj', 'v_proj'],
      },
    },
    encoderDirectory,
    base: { id: 'example/tiny', architecture: 'llama', heads: HEADS, layout },
    out,
  });
}
