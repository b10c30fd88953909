/** How an adapter is used with other programs, filled in. */
import type { Adapter } from '../../client/types.ts';

/** Who reads the snippets. */
export type SnippetOptions = {
  /** The service's own address. */
  readonly origin: string;
  /** Whose the adapter is: the first part of its name as a repository. */
  readonly tenant: string;
};

/** Snippets by program. */
export function snippets(
  { id, baseModel, rank }: Pick<Adapter, 'id' | 'baseModel' | 'rank'>,
  { origin, tenant }: SnippetOptions,
): Readonly<Record<string, string>> {
  const file = `${origin}/adapters/${id}/adapter_model.safetensors`;
  const gguf = `${origin}/adapters/${id}/adapter.gguf`;
  const tar = `${origin}/adapters/${id}.tar`;
  const curl = `curl -fL -H "Authorization: Bearer $LORADROP_KEY"`;
  const lowerId = id.toLowerCase().replace(/[^a-z0-9-]+/g, '-');
  return {
    curl: `# LORADROP_KEY is any text where no key is needed.
${curl} -O ${file}
${curl} ${origin}/v1/chat/completions -H 'Content-Type: application/json' -d '{
  "model": "${baseModel}+${id}", "temperature": 0,
  "messages": [{"role": "user", "content": "Does the moon orbit the Earth?"}]}'`,
    JavaScript: `import { createClient } from 'loradrop/client';
import { writeFile } from 'node:fs/promises';

const client = createClient({ url: '${origin}', key: process.env.LORADROP_KEY });
const adapter = await client.getAdapter('${id}');
for (const file of adapter.files) {
  await writeFile(file.name, await client.download(adapter.id, file)); // verified
}`,
    OpenAI: `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: process.env.LORADROP_KEY });
const answer = await client.chat.completions.create({
  model: '${baseModel}+${id}',
  temperature: 0,
  messages: [{ role: 'user', content: 'Does the moon orbit the Earth?' }],
});
console.log(answer.choices[0].message.content);`,
    PEFT: `# HF_ENDPOINT=${origin} HF_TOKEN=$LORADROP_KEY (any text where no key is needed)
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("/path/to/${baseModel.split('/').at(-1)}")
model = PeftModel.from_pretrained(base, "${tenant}/${id}")`,
    vLLM: `${curl} ${tar} | tar x
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve ${baseModel} --enable-lora --max-lora-rank ${Math.max(8, rank)}
# in another shell, in the same directory
curl localhost:8000/v1/load_lora_adapter -H 'Content-Type: application/json' \\
  -d '{"lora_name": "${id}", "lora_path": "'$PWD'/${id}"}'`,
    SGLang: `${curl} ${tar} | tar x
python -m sglang.launch_server --model-path ${baseModel} --enable-lora --max-lora-rank ${rank} --lora-paths ${id}=./${id}
# or while it runs, in another shell, in the same directory
curl localhost:30000/load_lora_adapter -H 'Content-Type: application/json' \\
  -d '{"lora_name": "${id}", "lora_path": "'$PWD'/${id}"}'`,
    'llama.cpp': `${curl} -o ${id}.gguf ${gguf}
llama-server -m base.gguf --lora ${id}.gguf`,
    Ollama: `${curl} -o ${id}.gguf ${gguf}
printf 'FROM ./base.gguf\\nADAPTER ./${id}.gguf\\n' > Modelfile
ollama create ${lowerId} -f Modelfile`,
    KServe: `# The runtime downloads from the service as from the Hub.
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: ${lowerId}
spec:
  predictor:
    model:
      modelFormat: { name: huggingface }
      args: [--model_id=${baseModel}, --enable-lora, --max-lora-rank=${rank}, --lora-modules, ${id}=${tenant}/${id}]
      env: [{ name: HF_ENDPOINT, value: ${origin} }]`,
  };
}
