import { test } from 'tap';
import { isId, isName } from '../../src/base/ids.ts';
import {
  fineTunedModel,
  fineTuningIdOfKey,
  newFineTuningId,
  newUploadId,
  parseResultFileId,
  resultFileId,
  uploadTime,
} from '../../src/finetuning/ids.ts';
import { jobIdOfKey } from '../../src/http/idempotency-key.ts';

test('ids are ids of Loradrop, and tell what they stand for', (t) => {
  const job = newFineTuningId();
  const upload = newUploadId(Date.now());
  t.ok(isId(job) && isId(upload));
  t.ok(Math.abs(uploadTime(upload)! - Date.now()) < 10_000);
  t.ok(newUploadId(2_000_000_000_000) > newUploadId(1_999_999_999_999), 'they sort as the files came');
  const result = resultFileId(job, 'gguf');
  t.ok(isId(result));
  t.strictSame(parseResultFileId(result), { jobId: job, kind: 'gguf' });
  t.equal(uploadTime(result), undefined);
  t.equal(parseResultFileId(upload), undefined);
  t.equal(parseResultFileId('file-x-gguf'), undefined);
  const ofKey = fineTuningIdOfKey(jobIdOfKey('my key'));
  t.strictSame(parseResultFileId(resultFileId(ofKey, 'weights')), { jobId: ofKey, kind: 'weights' });
  t.end();
});

test('a model’s name is a name wherever names go', (t) => {
  const job = 'ftjob-0123456789abcdef01234567';
  const names: [string, string | undefined, string][] = [
    ['HuggingFaceTB/SmolLM2-135M-Instruct', undefined, 'ft-SmolLM2-135M-Instruct-cdef01234567'],
    ['base', 'my suffix', 'ft-base-my-suffix-cdef01234567'],
    ['Qwen/Qwen2.5-0.5B-Instruct', '--a--', 'ft-Qwen2-5-0-5B-Instruct-a-cdef01234567'],
    ['a/b', '中文', 'ft-b-cdef01234567'],
    ['x'.repeat(100), 'y'.repeat(64), `ft-${'x'.repeat(24)}-${'y'.repeat(22)}-cdef01234567`],
  ];
  for (const [base, suffix, name] of names) {
    t.equal(fineTunedModel(job, { base, suffix }), name);
    t.ok(isId(name) && isName(name) && name.length <= 64, name);
    // What Hub clients take as the name of a repository.
    t.match(name, /^(?!.*--)[\w.-]{1,96}$/);
  }
  t.end();
});
