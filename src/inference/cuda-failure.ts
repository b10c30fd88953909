/** Why CUDA does not work on this machine, told so that an operator knows what to do. */
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { runtimeReason } from './runtime-reason.ts';

/** Where ONNX Runtime looks for its CUDA provider: beside itself. The npm package comes without it. */
const PROVIDER_FILE = fileURLToPath(
  new URL(
    `../bin/napi-v6/${process.platform}/${process.arch}/libonnxruntime_providers_cuda.so`,
    import.meta.resolve('onnxruntime-node'),
  ),
);

/** What to do about the failures of CUDA that a machine's set-up causes, by their number. */
const REMEDIES: Readonly<Record<string, string>> = {
  35: 'update the NVIDIA driver',
  100: 'the NVIDIA driver is there but no GPU is; a container needs --gpus',
  101: 'there is no GPU of that number, and nvidia-smi -L lists those there are',
};

/** True where someone has installed the CUDA provider, so that its not working is a surprise. */
export function cudaProviderInstalled(providerFile = PROVIDER_FILE): boolean {
  return existsSync(providerFile);
}

/**
 * The reason, and the remedy where one is known, as a sentence without its full stop. ONNX Runtime says only that a shared
 * library did not load, and prints the name of the missing one; so the system's loader is asked again. `load` answers its
 * complaint about a library, or undefined.
 */
export function explainCudaFailure(
  cause: unknown,
  { providerFile = PROVIDER_FILE, load = loaderComplaint } = {},
): string {
  if (!cudaProviderInstalled(providerFile)) {
    return "ONNX Runtime's CUDA provider is not installed, and docker's README says how it is";
  }
  const complaint = load(providerFile) ?? load('libcudnn.so.9');
  const missing = /^(lib[\w+-]+\.so[.\d]*): cannot open shared object file/.exec(complaint ?? '')?.[1];
  if (missing === 'libcuda.so.1') {
    return 'there is no NVIDIA driver (libcuda.so.1 is not found); a container gets it with --gpus';
  }
  if (missing) return `${missing} of CUDA or cuDNN is not found, and docker's README lists what is needed`;
  if (complaint !== undefined) return `the CUDA provider does not load: ${runtimeReason(complaint)}`;
  const reason = runtimeReason(cause);
  const remedy = REMEDIES[/^CUDA failure (\d+):/.exec(reason)?.[1] ?? ''];
  return remedy ? `${reason}: ${remedy}` : reason;
}

function loaderComplaint(library: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW);
  } catch (error) {
    const { message } = error as Error;
    // One that loads is refused as well, since it is no addon of Node.
    if (!message.startsWith('Module did not self-register')) return message;
  }
  return undefined;
}
