import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { cudaProviderInstalled, explainCudaFailure } from '../../src/inference/cuda-failure.ts';

/** Where ONNX Runtime's own libraries are for this machine. */
const runtimeDirectory = fileURLToPath(
  new URL(`../bin/napi-v6/${process.platform}/${process.arch}/`, import.meta.resolve('onnxruntime-node')),
);

/** What ONNX Runtime 1.30 said on machines with the provider and without a usable GPU, less most of its templates. */
const fromRuntime = (failure: string) =>
  new Error(
    `/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:146 std::conditional_t<THRW, void, common::Status> ${failure} ; GPU=-1 ; hostname=node-7 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=352 ; expr=cudaSetDevice(info_.device_id); \n\n`,
  );

test('a provider that is not installed', async (t) => {
  const providerFile = join(t.testdir(), 'libonnxruntime_providers_cuda.so');
  t.notOk(cudaProviderInstalled(providerFile));
  t.match(explainCudaFailure(new Error('?'), { providerFile }), /provider is not installed/);
});

test('the place of the provider is where the runtime is', async (t) => {
  // The layout is the package's own affair: this fails when it changes.
  const files = await readdir(runtimeDirectory);
  t.ok(files.includes('onnxruntime_binding.node'));
  t.equal(cudaProviderInstalled(), files.includes('libonnxruntime_providers_cuda.so'));
});

test('a library that the provider needs is named by the system', {
  skip: process.platform !== 'linux',
}, async (t) => {
  // Any library whose own needs cannot be met does; this one needs the runtime that it was copied away from.
  const providerFile = join(t.testdir(), 'libonnxruntime_providers_cuda.so');
  await copyFile(join(runtimeDirectory, 'onnxruntime_binding.node'), providerFile);
  t.equal(
    explainCudaFailure(new Error('Failed to load shared library'), { providerFile }),
    "libonnxruntime.so.1 of CUDA or cuDNN is not found, and docker's README lists what is needed",
  );
});

test('every lack has its sentence', async (t) => {
  const providerFile = join(t.testdir({ 'provider.so': '' }), 'provider.so');
  const unloadable = new Error(
    'OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library',
  );
  const absent = (library: string) => `${library}: cannot open shared object file: No such file or directory`;
  const loads = () => undefined;
  for (const [name, cause, load, sentence] of [
    ['CUDA runtime', unloadable, () => absent('libcublasLt.so.13'), /^libcublasLt\.so\.13 of CUDA or cuDNN/],
    ['driver', unloadable, () => absent('libcuda.so.1'), /^there is no NVIDIA driver/],
    [
      'cuDNN',
      fromRuntime('CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED'),
      (library: string) => (library === providerFile ? undefined : absent(library)),
      /^libcudnn\.so\.9 of CUDA or cuDNN/,
    ],
    [
      'another build of the runtime',
      unloadable,
      () => '/opt/x/provider.so: undefined symbol: Provider_GetHost',
      /^the CUDA provider does not load: provider\.so: undefined symbol: Provider_GetHost$/,
    ],
    [
      'newer driver',
      fromRuntime('CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version'),
      loads,
      /^CUDA failure 35: CUDA driver .* version: update the NVIDIA driver$/,
    ],
    [
      'GPU',
      fromRuntime('CUDA failure 100: no CUDA-capable device is detected'),
      loads,
      /^CUDA failure 100: no CUDA-capable device is detected: .*--gpus$/,
    ],
    [
      'GPU of that number',
      fromRuntime('CUDA failure 101: invalid device ordinal'),
      loads,
      /^CUDA failure 101: invalid device ordinal: there is no GPU of that number/,
    ],
    [
      'anything known',
      fromRuntime('CUDA failure 700: an illegal memory access was encountered'),
      loads,
      /^CUDA failure 700: an illegal memory access was encountered$/,
    ],
  ] as const) {
    t.match(explainCudaFailure(cause, { providerFile, load }), sentence, name);
  }
});
