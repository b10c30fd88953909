import { test } from 'tap';
import { runtimeReason } from '../../src/inference/runtime-reason.ts';

test('a reason is one short line without directories', async (t) => {
  for (const [text, reason] of [
    [
      'Load model from /srv/b/encoder.onnx failed:Protobuf parsing failed.',
      'Load model from encoder.onnx failed:Protobuf parsing failed',
    ],
    [
      'Load model from /srv/b/encoder.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:180 Unsupported model IR version: 99',
      'Load model from encoder.onnx failed:model.cc:180 Unsupported model IR version: 99',
    ],
    ['cannot open C:\\models\\a.onnx', 'cannot open a.onnx'],
    ['/onnxruntime_src/core/x.cc:12 Run [E] : bad shape {1,2}\nstack', 'x.cc:12 Run [E] : bad shape {1,2}'],
    ['', 'no reason given'],
    [
      "Non-zero status code returned while running Conv node. Name:'a' Status Message: /x/cuda_call.cc:146 f() [with T = int] CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0 ; hostname=node-7 ; file=/x/conv.cc",
      'CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED',
    ],
  ] as const) {
    t.equal(runtimeReason(new Error(text)), reason);
  }
  t.equal(
    runtimeReason(new Error('cannot open /srv/my models/x/a.onnx'), { directory: '/srv/my models/x' }),
    'cannot open a.onnx',
  );
  t.equal(runtimeReason('plain'), 'plain');
  t.equal(runtimeReason(new Error('x'.repeat(1000))).length, 300);
});
