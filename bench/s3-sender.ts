/** Sends made-up adapter bytes in one way and prints `{seconds, peakBytes}`. Arguments: store or sdk, s3 address, GiB. */
import { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { sha256 } from '../src/base/digest.ts';
import { processMemory } from '../src/inference/process-memory.ts';
import { openS3Store } from '../src/store/s3.ts';
import { parseS3Url } from '../src/store/s3-layout.ts';

const PART_BYTES = 8 << 20;
const PARTS_IN_FLIGHT = 4;
/** A matrix of a 7B layout in bf16, which is what the store is handed at a time. */
const MATRIX_BYTES = 14336 * 16 * 2;
const [way, url, gibibytes] = process.argv.slice(2);
const bytes = Number(gibibytes) * 2 ** 30;

function* content(): Generator<Uint8Array> {
  const matrix = Uint8Array.from({ length: MATRIX_BYTES }, (_, index) => (index * 7 + (index >> 8)) % 251);
  for (let sent = 0; sent < bytes; sent += matrix.length)
    yield matrix.slice(0, Math.min(matrix.length, bytes - sent));
}

const file = 'adapter_model.safetensors';
let startedAt = performance.now();
if (way === 'store') {
  const store = await openS3Store({
    url: url!,
    forcePathStyle: true,
    partBytes: PART_BYTES,
    partsInFlight: PARTS_IN_FLIGHT,
  });
  startedAt = performance.now();
  const draft = await store.of('default').draft('bench');
  await draft.write(file, content());
  const fact = { createdAt: 0, expiresAt: 1, contentKey: sha256('bench'), info: {} };
  await draft.publish(fact);
  report();
  await store.of('default').remove('bench');
  await store.close();
} else {
  const { bucket, prefix } = parseS3Url(url!);
  const client = new S3Client({ forcePathStyle: true });
  const upload = new Upload({
    client,
    params: {
      Bucket: bucket,
      Key: `${prefix}${file}`,
      Body: Readable.from(content(), { objectMode: false }),
    },
    partSize: PART_BYTES,
    queueSize: PARTS_IN_FLIGHT,
  });
  await upload.done();
  report();
  client.destroy();
}

function report(): void {
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(JSON.stringify({ seconds, peakBytes: processMemory().peakResidentBytes }));
}
