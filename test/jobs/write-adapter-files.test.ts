import { test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { safetensorsHeader, writeSafetensors } from '../../src/adapter/safetensors.ts';
import { type FileWriter, writeAdapterFiles } from '../../src/jobs/write-adapter-files.ts';
import { layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';

const LAYOUT = layoutForBase({ layers: 2, hidden: 32, kv: 16, ffn: 48, rank: 4, alpha: 8 });
const TENSORS = loraTensors(LAYOUT);

/** An adapter's files, whose numbers end with a failure where one is given; tells whether their source was closed. */
function files(failure?: Error) {
  const source = { closed: false };
  function* matrices() {
    try {
      for (const { shape } of TENSORS) yield new Float32Array(shape[0] * shape[1]).fill(0.5);
      if (failure) throw failure;
    } finally {
      source.closed = true;
    }
  }
  return {
    source,
    weights: writeSafetensors(TENSORS, matrices(), { dtype: 'bf16' }),
    weightBytes: safetensorsHeader(TENSORS, 'bf16').totalBytes,
    config: peftConfig({ id: 'b' }, LAYOUT),
    gguf: { architecture: 'qwen2' },
  };
}

async function drain(content: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of content) bytes += piece.length;
  return bytes;
}

test('a writer that fails, before or in the middle, ends the other one, and its failure is told', {
  timeout: 20_000,
}, async (t) => {
  for (const broken of ['adapter_model.safetensors', 'adapter.gguf']) {
    for (const when of ['before', 'in the middle']) {
      const given = files();
      const ended: string[] = [];
      const write: FileWriter<string> = async (name, content) => {
        try {
          if (name !== broken) await drain(content);
          else if (when === 'before') throw new Error('no room');
          else for await (const piece of content) if (piece.length < 1000) throw new Error('no room');
          return name;
        } finally {
          ended.push(name);
        }
      };
      await t.rejects(writeAdapterFiles(write, given), { message: 'no room' }, `${broken}, ${when}`);
      t.strictSame(ended.sort(), ['adapter.gguf', 'adapter_model.safetensors'], 'both have ended');
      if (when === 'in the middle') t.ok(given.source.closed);
    }
  }
});

test('what cannot be converted, and numbers that fail, are told as they are', {
  timeout: 20_000,
}, async (t) => {
  await t.rejects(
    writeAdapterFiles(async (_, content) => drain(content), { ...files(), gguf: { architecture: 'llama' } }),
    {
      code: 'gguf-heads-unknown',
    },
  );
  const lost = files(new Error('the engine is gone'));
  await t.rejects(
    writeAdapterFiles(async (_, content) => drain(content), lost),
    { message: 'the engine is gone' },
  );
});
