/** `/v1/files`: what fine-tuning jobs read and have made, in OpenAI's shape. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { inBatches } from '../../base/in-batches.ts';
import { fineTuningErrors } from '../../finetuning/errors.ts';
import { uploadTime } from '../../finetuning/ids.ts';
import { pageOf } from '../../finetuning/page.ts';
import { queueErrors } from '../../queue/errors.ts';
import type { StoredAdapter } from '../../store/store.ts';
import { UPLOADED_FILE } from '../../store/uploads.ts';
import { fileResponses } from '../file-responses.ts';
import {
  FileDeleted,
  FileList,
  FileListQuery,
  FileObject,
  FileParams,
  RESULT_PURPOSE,
  UPLOAD_PURPOSE,
} from '../file-schemas.ts';
import { listFineTuning } from '../fine-tuning-jobs.ts';
import { openaiResponses } from '../openai-responses.ts';
import { presentUpload } from '../present-upload.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, QUEUE_FAILURES } from '../problem-responses.ts';
import { findResultFile, resultFilesOf } from '../result-files.ts';
import { refTo } from '../schemas.ts';
import { sendAdapterFile, sendFile } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';
import type { StoredUsage } from '../stored-usage.ts';
import { registerUpload } from './v1-upload.ts';

const JSON_ONLY = ['application/json'] as const;
/** What clients of OpenAI's API ask for is `application/binary`. */
const CONTENT_TYPES = [
  'application/octet-stream',
  'application/binary',
  'application/json',
  'application/jsonl',
] as const;
const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  ...QUEUE_FAILURES,
  'id-invalid',
  'store-unavailable',
];
/** Jobs whose results are listed; older ones are found by their ids. */
const MAX_RESULT_JOBS = 500;
/** Jobs whose adapters are looked up at once. */
const BATCH = 16;

/** Registers the routes. */
export async function registerFiles(app: App, services: HttpServices, stored: StoredUsage): Promise<void> {
  const { files, store, queue, now = Date.now } = services;
  await app.register((scope, _options, done) => {
    registerUpload(scope as unknown as App, services, stored);
    done();
  });

  const find = async (tenant: string, id: string): Promise<StoredAdapter | undefined> => {
    const file = uploadTime(id) === undefined ? undefined : await files.of(tenant).find(id);
    // Removal comes a little after the expiry; clients should not see that.
    return file && file.expiresAt > now() ? file : undefined;
  };
  const findResult = (tenant: string, id: string) =>
    findResultFile(id, { queue: queue.of(tenant), store: store.of(tenant), now });

  const uploads = async (tenant: string): Promise<FileObject[]> => {
    const ids: string[] = [];
    for await (const { id } of files.list({ tenant })) ids.push(id);
    const found = await inBatches(ids, BATCH, (id) => find(tenant, id));
    return found.flatMap((file) => (file ? [presentUpload(file)] : []));
  };
  const results = async (tenant: string): Promise<FileObject[]> => {
    const { jobs } = await listFineTuning(queue.of(tenant), { limit: MAX_RESULT_JOBS, status: 'succeeded' });
    const found = await inBatches(jobs, BATCH, (record) =>
      resultFilesOf(record, { store: store.of(tenant), now }),
    );
    return found.flat().map(({ object }) => object);
  };

  app.get(
    '/v1/files',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'listFiles',
        summary: 'List files that were uploaded, and those that jobs have made',
        querystring: FileListQuery,
        response: {
          200: refTo(FileList),
          ...openaiResponses(...FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ query: { after, limit = 1000, order = 'desc', purpose }, caller: { tenant } }) => {
      const all = [
        ...(purpose === undefined || purpose === UPLOAD_PURPOSE ? await uploads(tenant) : []),
        ...(purpose === undefined || purpose === RESULT_PURPOSE ? await results(tenant) : []),
      ];
      const sign = order === 'asc' ? 1 : -1;
      // Ids of uploads begin with their time to the millisecond.
      all.sort((a, b) => sign * (a.created_at - b.created_at || (a.id < b.id ? -1 : 1)));
      const page = pageOf(all, { after, limit });
      if (!page) throw queueErrors.badCursor('No file of the list has the id in `after`.');
      return page;
    },
  );

  app.get(
    '/v1/files/:id',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'getFile',
        summary: 'What a file is',
        params: FileParams,
        response: { 200: refTo(FileObject), ...openaiResponses(...FAILURES, 'file-not-found') },
      },
    },
    async ({ params: { id }, caller: { tenant } }) => {
      const upload = await find(tenant, id);
      if (upload) return presentUpload(upload);
      const result = await findResult(tenant, id);
      if (!result) throw noFile();
      return result.object;
    },
  );

  app.get(
    '/v1/files/:id/content',
    {
      config: { produces: CONTENT_TYPES, access: 'read' },
      exposeHeadRoute: false,
      schema: {
        tags: ['fine-tuning'],
        operationId: 'getFileContent',
        summary: 'The bytes of a file',
        description: 'With ETag and ranges, as adapters’ files are sent.',
        params: FileParams,
        response: {
          ...fileResponses('application/octet-stream', 'application/json'),
          ...openaiResponses(...FAILURES, 'file-not-found', 'precondition-failed', 'range-not-satisfiable'),
        },
      },
    },
    async (request, reply): Promise<FastifyReply> => {
      const { params, caller } = request;
      const { tenant } = caller;
      const upload = await find(tenant, params.id);
      if (upload) return sendUpload(services, upload, { request, reply });
      const result = await findResult(tenant, params.id);
      if (!result) throw noFile();
      return sendAdapterFile(store.of(tenant), result.adapter, result.name, { request, reply });
    },
  );

  app.delete(
    '/v1/files/:id',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'deleteFile',
        summary: 'Delete a file that was uploaded',
        description: 'Jobs that have read it go on. Files that jobs have made end with their adapter.',
        params: FileParams,
        response: {
          200: refTo(FileDeleted),
          ...openaiResponses(...FAILURES, 'file-not-found', 'fine-tuning-unsupported', 'cross-site-refused'),
        },
      },
    },
    async ({ params: { id }, log, caller: { tenant } }) => {
      if ((await find(tenant, id)) && (await files.of(tenant).remove(id))) {
        log.info({ tenant, file: id }, 'file deleted');
        return { id, object: 'file' as const, deleted: true as const };
      }
      if (await findResult(tenant, id)) {
        throw fineTuningErrors.unsupported(
          'The file is a part of an adapter: delete that with `DELETE /v1/models/{model}`.',
        );
      }
      throw noFile();
    },
  );
}

function sendUpload(
  { files }: Pick<HttpServices, 'files'>,
  { tenant, id, createdAt, files: [file] }: StoredAdapter,
  context: { request: FastifyRequest; reply: FastifyReply },
): Promise<FastifyReply> {
  const { bytes, sha256 } = file!;
  return sendFile(
    {
      bytes,
      sha256,
      createdAt,
      mediaType: 'application/octet-stream',
      read: (options) => files.of(tenant).read(id, UPLOADED_FILE, options),
    },
    context,
  );
}

const noFile = () => fineTuningErrors.noFile('No file has this id.');
