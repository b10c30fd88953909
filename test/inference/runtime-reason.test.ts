import { test } from 'tap';
import { runtimeReason } from '../../src/inference/runtime-reason.ts';

test('a reason is one short line without directories', async (t) => {
  for (const [text, reason] of [
    [
      'Load model from /srv/b/encoder.onnx failed:Protobuf parsing failed.',
      'Load model from encoder.onnx failed:Protobuf parsing failed',
    ],
    ['/onnxruntime_src/core/x.cc:12 Run [E] : bad shape {1,2}\nstack', 'x.cc:12 Run [E] : bad shape {1,2}'],
    ['', 'no reason given'],
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
