/**
 * The one table from failure codes to HTTP statuses, and RFC 9457 problems made with it. Every code that any room declares
 * is here (a test compares), also those a client meets only inside a failed job.
 */
import { type FieldError, toLoradropError } from '../base/errors.ts';

/** What the table says of a code. */
export type ProblemSpec = {
  readonly status: number;
  /** What it means and what a client can do about it. */
  readonly meaning: string;
  /** `Retry-After` where the failure itself names none. */
  readonly retryAfterSeconds?: number;
};

/** Code → status and meaning. */
export const PROBLEMS = {
  // Requests
  'request-invalid': {
    status: 400,
    meaning:
      'Fields or parameters are missing, out of range or of the wrong type; `errors` names each. Correct them.',
  },
  'field-unknown': {
    status: 400,
    meaning:
      'Fields or parameters are not known and were not dropped in silence; `errors` names each. Remove them.',
  },
  'options-conflict': {
    status: 400,
    meaning:
      'Each option is well-formed, but one excludes or needs another; `errors` names them. Leave one out, or add what it needs.',
  },
  'id-invalid': {
    status: 400,
    meaning:
      'An id or name in the address is not 1–64 of `A–Z a–z 0–9 _ -` (56 for ids that a client chooses; no `--` in names).',
  },
  'json-invalid': {
    status: 400,
    meaning: 'The body is not strict JSON (NaN, comments and trailing commas are not).',
  },
  'form-invalid': {
    status: 400,
    meaning: 'The multipart body is cut off, malformed, or has too many parts.',
  },
  'text-not-utf8': {
    status: 400,
    meaning: 'Bodies and files are UTF-8, or UTF-16 with a byte-order mark. Encode the text anew.',
  },
  'cursor-invalid': {
    status: 400,
    meaning: 'Take `nextCursor` of the page before, or begin without a cursor.',
  },
  'prompts-empty': {
    status: 400,
    meaning: 'There is no prompt, or `errors` names blank ones. Leave those out.',
  },
  'prompts-invalid': {
    status: 400,
    meaning:
      'The text, table or compressed file is malformed, a row has no prompt where the others have theirs, or a prompt has NUL or half a surrogate pair; `errors` names the rows where it is theirs.',
  },
  'prompt-field-ambiguous': {
    status: 400,
    meaning:
      'Every row has more than one column that can be the prompt, and they differ. Name one in `promptField`, or join them in `promptTemplate`.',
  },
  'prompt-field-invalid': {
    status: 400,
    meaning:
      '`promptField` is no column or JSON pointer, or `promptTemplate` is malformed or names a column that no row has. Only one of the two is taken.',
  },
  'prompts-hold-answers': {
    status: 400,
    meaning:
      'The column holds whole dialogues in one text, and answers must not enter a condition. Choose a column with the question alone in `promptField`; where the marker of an answer is part of the prompt, name the column in `promptTemplate`.',
  },
  'idempotency-key-invalid': {
    status: 400,
    meaning: 'A key is 1–255 printable ASCII characters, in quotes or not.',
  },
  'model-not-chosen': { status: 400, meaning: 'Name one of `GET /models` in `model`.' },
  'count-too-large': { status: 400, meaning: 'Ask for fewer adapters, or in several requests.' },
  'deadline-too-long': { status: 400, meaning: 'Ask for a shorter deadline.' },
  'retention-too-long': { status: 400, meaning: 'Ask for a shorter retention, and copy what has to last.' },
  'links-unavailable': {
    status: 400,
    meaning:
      'Fetch files with your key. For links the operator has to set `LINK_SECRET`, the same for all processes.',
  },
  'metadata-too-large': {
    status: 400,
    meaning: 'Keep the data elsewhere and a reference to it in `metadata`.',
  },
  'url-invalid': { status: 400, meaning: 'The address has a broken percent-encoding.' },
  'request-malformed': { status: 400, meaning: 'The bytes are not a well-formed HTTP/1.1 request.' },
  'key-missing': {
    status: 401,
    meaning:
      'Send an API key as `Authorization: Bearer ld_…`. The operator has made it with `loradrop keys create`.',
  },
  'key-invalid': {
    status: 401,
    meaning: 'The key was never made here, or it was revoked. Ask the operator for one.',
  },
  'key-expired': { status: 401, meaning: 'The key’s time is over. Ask the operator for a new one.' },
  'scope-missing': {
    status: 403,
    meaning: 'The key is for other operations. Use one with the scope that `detail` names.',
  },
  'link-invalid': {
    status: 403,
    meaning: 'The link is incomplete, was changed, or was signed with another secret. Ask for a new one.',
  },
  'link-expired': {
    status: 403,
    meaning: 'Ask for a new link: `GET /jobs/{id}` and `GET /adapters/{id}` make one each time.',
  },
  'rate-limit-exceeded': {
    status: 429,
    meaning: 'Send fewer requests. The `RateLimit` header of every answer tells how many are left.',
    retryAfterSeconds: 1,
  },
  'quota-waiting-exceeded': {
    status: 429,
    meaning:
      'Nothing was accepted. Wait until some of your jobs have ended; `GET /usage` tells how many wait.',
    retryAfterSeconds: 5,
  },
  'quota-adapters-exceeded': {
    status: 429,
    meaning: 'Nothing was accepted. Delete adapters you no longer need, or ask for shorter retentions.',
    retryAfterSeconds: 60,
  },
  'quota-stored-bytes-exceeded': {
    status: 429,
    meaning: 'Nothing was accepted. Delete adapters you no longer need, or ask for shorter retentions.',
    retryAfterSeconds: 60,
  },
  'quota-files-exceeded': {
    status: 429,
    meaning: 'Nothing was kept. Delete files you no longer need, or upload with a shorter `expires_after`.',
    retryAfterSeconds: 60,
  },
  'quota-names-exceeded': {
    status: 429,
    meaning: 'Nothing was changed. Delete names you no longer need; each counts for a day more.',
    retryAfterSeconds: 60,
  },
  'cross-site-refused': {
    status: 403,
    meaning:
      'A browser sent the request for a page of another site. Send it from a program, or from a page of this service.',
  },
  'route-not-found': { status: 404, meaning: 'See `/docs` for the addresses there are.' },
  'method-not-allowed': { status: 405, meaning: 'The `Allow` header lists the methods of this address.' },
  'not-acceptable': { status: 406, meaning: 'See `/docs` for the media types of this address.' },
  'request-timeout': { status: 408, meaning: 'The request arrived too slowly. Send it again.' },
  'precondition-failed': {
    status: 412,
    meaning:
      'The file or name is not the version that `If-Match`, `If-Unmodified-Since` or `If-None-Match` asks for. Fetch it anew, a file from its beginning.',
  },
  'body-too-large': { status: 413, meaning: 'Send fewer or shorter prompts.' },
  'too-many-prompts': {
    status: 413,
    meaning: 'A condition uses a few hundred prompts at most. Send a sample.',
  },
  'prompts-too-large': {
    status: 413,
    meaning:
      'What was sent unpacks to more bytes than are taken, or takes too much time or memory to read. Send fewer rows, or the column of the prompts alone.',
  },
  'prompt-too-long': { status: 413, meaning: 'Encoders cut texts off long before this length. Shorten it.' },
  'uri-too-long': { status: 414, meaning: 'Move long values into the body.' },
  'media-type-unsupported': {
    status: 415,
    meaning:
      'See `/docs` for the media types that are taken. Text is UTF-8; bodies may have the Content-Encoding gzip or zstd.',
  },
  'range-not-satisfiable': {
    status: 416,
    meaning: 'The `Content-Range` header tells the size of the whole.',
  },
  'misdirected-request': {
    status: 421,
    meaning:
      'The host in the request is not one that this service is served under. Use its own name; the operator adds names to `ALLOWED_HOSTS`.',
  },
  'headers-too-large': { status: 431, meaning: 'Send fewer or shorter headers.' },
  'not-ready': { status: 503, meaning: '`parts` tells what is missing.', retryAfterSeconds: 5 },
  'too-many-connections': {
    status: 503,
    meaning: 'Nothing was accepted. Try again later; the operator may raise `MAX_CONNECTIONS`.',
    retryAfterSeconds: 5,
  },
  draining: {
    status: 503,
    meaning: 'Send the request again, to another instance or later.',
    retryAfterSeconds: 5,
  },
  'job-unfinished': {
    status: 504,
    meaning: 'The job goes on. `Location` is its address; the adapter is there once it succeeded.',
    retryAfterSeconds: 10,
  },

  // Models
  'model-not-found': { status: 404, meaning: 'Name one of `GET /models`.' },
  'bundle-invalid': { status: 500, meaning: 'The operator has to replace the bundle.' },
  'bundle-schema-unknown': {
    status: 500,
    meaning: 'The operator has to import the bundle anew or update the service.',
  },
  'bundle-unloadable': {
    status: 500,
    meaning: 'The operator has to replace the bundle; the log has the reason.',
  },
  'checkpoint-invalid': { status: 500, meaning: 'The operator has to import another checkpoint.' },
  'evaluation-invalid': { status: 500, meaning: 'The operator has to correct the file of figures.' },
  'encoder-invalid': { status: 500, meaning: 'The operator has to import another encoder.' },
  'tokenizer-invalid': {
    status: 500,
    meaning: 'The operator has to import an encoder whose tokenizer is computed here as its library does.',
  },
  'onnx-invalid': { status: 500, meaning: 'The operator has to replace the bundle.' },
  'repository-unusable': { status: 500, meaning: 'The operator has to pull another repository.' },
  'source-unreachable': { status: 502, meaning: 'The operator has to pull again later.' },
  'source-unusable': { status: 502, meaning: 'The operator has to correct the address of the bundle.' },
  'hub-unreachable': { status: 502, meaning: 'The operator has to pull again later.' },
  'hub-refused': { status: 502, meaning: 'The operator has to get access to the repository.' },
  'hub-not-found': { status: 502, meaning: 'The operator has to correct the address of the repository.' },
  'hub-answer-invalid': { status: 502, meaning: 'The operator has to check what HF_ENDPOINT names.' },
  'download-damaged': { status: 502, meaning: 'The operator has to pull again.' },
  'disk-full': { status: 507, meaning: 'The operator has to make room.' },
  'layout-invalid': {
    status: 500,
    meaning: 'The operator has to import the bundle with a layout that fits.',
  },

  // Jobs
  'job-not-found': { status: 404, meaning: 'The id is wrong, or the job’s retention is over.' },
  'job-conflict': {
    status: 409,
    meaning: 'Take another id or Idempotency-Key, or send the very request that the first one was.',
  },
  'job-finished': { status: 409, meaning: 'There is nothing left to cancel.' },
  canceled: { status: 409, meaning: 'Someone canceled the job. Submit it anew.' },
  'bundle-changed': {
    status: 409,
    meaning:
      'The model was replaced while the job waited, and no worker has the earlier one. Submit it anew.',
  },
  'prompts-unusable': {
    status: 422,
    meaning: 'The model cannot make a condition of these prompts. Take others.',
  },
  'one-description': {
    status: 422,
    meaning:
      'The model takes one description of a task and makes one adapter of it (`takes` of the model says so). Send one text as `description` or as the only one of `prompts`, without `count` and `strictPrompts`.',
  },
  'too-few-prompts': {
    status: 422,
    meaning: 'Send as many as `condition.prompts` of the model says, or leave `strictPrompts` out.',
  },
  'queue-full': { status: 429, meaning: 'Nothing was accepted. Try again later.', retryAfterSeconds: 5 },
  'queue-unavailable': {
    status: 503,
    meaning: 'Nothing was changed. Try again later.',
    retryAfterSeconds: 2,
  },
  'job-payload-invalid': {
    status: 500,
    meaning: 'Services of different versions share the queue. The operator has to bring them to one.',
  },
  'inference-failed': {
    status: 500,
    meaning: 'The model stopped with an error each time it was tried. The log has it.',
  },
  'workers-lost': {
    status: 503,
    meaning: 'Every worker that took the job ended. It may need more memory than they have.',
  },
  'engine-lost': {
    status: 503,
    meaning: 'The inference process ended more than once. Submit the job anew.',
    retryAfterSeconds: 5,
  },
  'engine-closed': {
    status: 503,
    meaning: 'The worker was stopping. Submit the job anew.',
    retryAfterSeconds: 5,
  },
  'insufficient-memory': {
    status: 503,
    meaning:
      'The model needs more memory than the worker can have. The operator has to give it more, or to raise `MEMORY_LIMIT_BYTES`.',
    retryAfterSeconds: 60,
  },
  'no-temporary-space': {
    status: 503,
    meaning:
      'The operator has to give the worker a directory for temporary files (`TMPDIR`) with room for the adapters that are made at once.',
    retryAfterSeconds: 60,
  },
  'device-unavailable': { status: 503, meaning: 'The operator has to set `DEVICE` to one that works.' },
  'deadline-exceeded': { status: 504, meaning: 'Submit the job with a later deadline.' },

  // Webhooks
  'webhook-url-invalid': {
    status: 400,
    meaning: 'Give the https:// address of a receiver, 2048 characters at most.',
  },
  'webhook-address-refused': {
    status: 400,
    meaning:
      'Webhooks go to public addresses, by https and its usual ports. The operator may allow others with `WEBHOOK_ALLOW`.',
  },
  'webhook-unresolvable': {
    status: 400,
    meaning: 'Correct the host name, or ask again once it has an address.',
  },
  'webhook-events-invalid': {
    status: 400,
    meaning: '`errors` names the events there are. Each is named once at most.',
  },
  'webhook-secret-missing': {
    status: 400,
    meaning: 'The operator has to make a secret for your tenant with `loradrop webhooks secret create`.',
  },
  'delivery-not-found': { status: 404, meaning: 'The number is wrong, or the job has no webhook.' },
  'delivery-pending': {
    status: 409,
    meaning: 'It is sent by itself. Replay what has ended.',
    retryAfterSeconds: 5,
  },
  'webhook-secrets-file-invalid': {
    status: 500,
    meaning: 'The operator has to repair `WEBHOOK_SECRETS_FILE`.',
  },
  'webhook-secret-exists': { status: 500, meaning: 'The operator has to rotate the secret there is.' },
  'webhook-settings-invalid': {
    status: 500,
    meaning: 'The operator has to correct the settings of webhooks.',
  },

  // Destinations
  'destination-invalid': {
    status: 400,
    meaning: 'The type, the bucket’s name or the prefix is none that there can be; `errors` names it.',
  },
  'destination-not-allowed': {
    status: 403,
    meaning: 'Name a bucket and prefix that the operator allows your tenant with `DESTINATIONS`.',
  },
  'destination-denied': {
    status: 502,
    meaning: 'The copy is tried again for a day. The operator has to give the service access to the bucket.',
  },
  'destination-missing': {
    status: 502,
    meaning: 'The copy is tried again for a day. Make the bucket; a wrong name needs a new job.',
  },
  'destination-unavailable': {
    status: 503,
    meaning: 'The copy is tried again for a day. Mend the object storage it goes to.',
  },
  'destination-full': {
    status: 507,
    meaning: 'The copy is tried again for a day. Make room in the object storage it goes to.',
  },
  'destination-occupied': {
    status: 409,
    meaning:
      'Nothing was overwritten. Another adapter of this id, or another file, lies there: remove it and submit the job under a new id.',
  },
  'destination-settings-invalid': { status: 500, meaning: 'The operator has to correct `DESTINATIONS`.' },
  // Deployments
  'deploy-targets-invalid': { status: 500, meaning: 'The operator has to correct `DEPLOY_TARGETS_FILE`.' },
  'deploy-target-unknown': {
    status: 400,
    meaning: 'The detail names the targets that the operator lets your tenant use.',
  },
  'deploy-unfit': {
    status: 400,
    meaning: 'Choose another target, or make the adapter as the detail says.',
  },
  'quota-deployments-exceeded': {
    status: 429,
    meaning:
      'Take some back with `DELETE /deployments/{id}`; they count until their servers have unloaded them and for two days more.',
  },
  'deployment-not-found': {
    status: 404,
    meaning: 'The id is wrong, or the deployment was removed days ago.',
  },
  'replica-unavailable': {
    status: 503,
    meaning: 'It is tried again for as long as the deployment is wanted. Look whether the model server runs.',
  },
  'replica-refused': {
    status: 502,
    meaning:
      'It is tried again for as long as the deployment is wanted. The log of the service has what the server said.',
  },
  // The Hub view
  'repository-not-found': {
    status: 404,
    meaning: 'Repositories are `tenant/name` and `tenant/id`, of the tenant of your own key.',
  },
  'revision-not-found': {
    status: 404,
    meaning:
      'Revisions are `main` and the commits of a name. Its adapter may be gone: `GET /names/{name}` tells.',
  },
  'entry-not-found': { status: 404, meaning: 'The repository has other files: list them.' },

  // Adapters
  'adapter-not-found': {
    status: 404,
    meaning: 'The id is wrong, the job has not finished, or the retention is over.',
  },
  'name-not-found': { status: 404, meaning: 'The name was never set, or it was deleted.' },
  'name-taken': {
    status: 409,
    meaning: 'An adapter has the name as its id. Choose another name.',
  },
  'transform-unfit': {
    status: 422,
    meaning:
      'The steps, or the adapters that are to be added, do not fit: a rank above the adapter’s, more modules than it has, adapters of different bases. `errors` names the field.',
  },
  'adapter-mismatch': {
    status: 500,
    meaning: 'Nothing was published. The operator has to import the bundle anew.',
  },
  'gguf-unsupported': {
    status: 422,
    meaning:
      'The base’s architecture, or a module of the adapter, is none that is written as GGUF. Take the safetensors, or llama.cpp’s own `convert_lora_to_gguf.py`.',
  },
  'gguf-heads-unknown': {
    status: 422,
    meaning:
      'Take the safetensors and convert them with `loradrop convert --architecture … --heads …`. The operator makes it known by importing the bundle with `heads` in its `--layout` file.',
  },
  'adapter-not-finite': {
    status: 500,
    meaning: 'Nothing was published. Other prompts or another seed may work.',
  },
  'safetensors-invalid': { status: 500, meaning: 'A file of the store is damaged. Make the adapter anew.' },
  'stored-file-damaged': {
    status: 500,
    meaning: 'A file of the store has other bytes than were written. Make the adapter anew.',
  },
  'store-unavailable': { status: 503, meaning: 'Try again later.', retryAfterSeconds: 2 },
  'store-full': {
    status: 507,
    meaning: 'The operator has to make room, or shorter retentions have to. Accepted jobs wait for it.',
    retryAfterSeconds: 30,
  },

  // Asking base models
  'evaluation-data-invalid': { status: 500, meaning: 'The rows have to be corrected.' },
  'base-model-unusable': {
    status: 503,
    meaning: 'The operator has to replace the GGUF file of the base, or to give the machine more memory.',
    retryAfterSeconds: 60,
  },
  'base-adapter-refused': {
    status: 422,
    meaning: 'llama.cpp does not load the adapter onto this GGUF file: its architecture or shape is another.',
  },
  'base-runtime-missing': {
    status: 503,
    meaning: 'The operator has to install llama.cpp beside Loradrop: `npm install node-llama-cpp`.',
    retryAfterSeconds: 60,
  },
  'chat-unavailable': {
    status: 404,
    meaning:
      'The operator has to put a GGUF file of the base into `BASES_DIR`, as `loradrop bases pull hf://owner/name/file.gguf` does.',
  },
  'chat-model-not-found': {
    status: 404,
    meaning:
      'Name one of `GET /v1/models`, an adapter of yours by its id or name, or a base with `+` and that. An adapter needs a GGUF file of its base.',
  },
  'chat-adapter-unfit': { status: 400, meaning: 'Ask the base that the adapter was made for.' },
  'chat-too-long': { status: 400, meaning: 'Send fewer or shorter messages.' },
  'chat-messages-refused': {
    status: 400,
    meaning:
      'Send roles as the base was trained on them: `message` names those that were sent. Many bases take no `system`, or want `user` and `assistant` in turn.',
  },
  'chat-schema-unsupported': {
    status: 400,
    meaning: 'Leave the part of the schema out that `message` names, or describe it in the prompt.',
  },
  'chat-busy': {
    status: 429,
    meaning:
      'Ask again after `Retry-After`. The operator sets with `CHAT_CONCURRENCY` how many are answered at a time.',
    retryAfterSeconds: 3,
  },
  'chat-tenant-busy': {
    status: 429,
    meaning:
      'Wait for your other answers, then ask again. The operator sets with `CHAT_TENANT_CONCURRENCY` how many of a tenant are answered at a time.',
    retryAfterSeconds: 3,
  },
  'chat-lost': {
    status: 503,
    meaning: 'Ask again: the next question starts another process.',
    retryAfterSeconds: 1,
  },
  'chat-failed': { status: 500, meaning: 'The log has the reason.' },

  'evaluation-ended': {
    status: 500,
    meaning: 'Scoring took too long, or its process ended. The log has the reason.',
  },

  // Fine-tuning as OpenAI's API has it
  'file-not-found': {
    status: 404,
    meaning:
      'The id is wrong, or the file was deleted or has expired: `GET /v1/files` lists those there are.',
  },
  'file-purpose-unsupported': { status: 400, meaning: 'Upload files with the purpose `fine-tune`.' },
  'file-too-large': {
    status: 413,
    meaning: 'Upload a sample of the rows; a condition uses a few hundred prompts at most.',
  },
  'training-file-invalid': {
    status: 400,
    meaning: 'Correct the line that the message names, upload the file again and create another job.',
  },
  'fine-tuning-unsupported': {
    status: 400,
    meaning:
      'Adapters are generated from prompts, without gradient steps. Leave the part out that the message names, or use a trainer for it.',
  },

  // The service itself
  internal: {
    status: 500,
    meaning: 'A defect. Tell the operator the `instance`: the log has the cause under it.',
  },
  'access-undecided': { status: 500, meaning: 'The operator has to make a key, or to say `AUTH=off`.' },
  'keys-file-invalid': { status: 500, meaning: 'The operator has to repair `API_KEYS_FILE`.' },
  'link-secret-file-invalid': {
    status: 500,
    meaning: 'The operator has to repair or remove `link-secret` in the data directory.',
  },
  'key-name-taken': { status: 500, meaning: 'The operator has to choose another name for the key.' },
  'key-name-unknown': { status: 500, meaning: 'The operator has to name a key that there is.' },
  'settings-invalid': { status: 500, meaning: 'The operator has to correct the settings.' },
  'store-address-invalid': { status: 500, meaning: 'The operator has to correct `STORE_URL`.' },
  'store-writes-unconditional': {
    status: 500,
    meaning: 'The operator has to take another object store, or to set `S3_ALLOW_UNCONDITIONAL_WRITES`.',
  },
  'queue-refused': {
    status: 503,
    meaning: 'Nothing was changed. The operator has to give the service what `detail` names.',
    retryAfterSeconds: 30,
  },
  'queue-data-unreadable': {
    status: 500,
    meaning:
      'The operator has to restore `queue` in the data directory, or to move it away and lose the jobs in it.',
  },
  'queue-address-invalid': { status: 500, meaning: 'The operator has to correct `QUEUE_URL`.' },
  'job-handler-missing': { status: 500, meaning: 'A defect that stops the worker from starting.' },
  'data-directory-locked': { status: 500, meaning: 'The operator has to stop the other process first.' },
} as const satisfies Record<string, ProblemSpec>;

/** A code of the table. */
export type ProblemCode = keyof typeof PROBLEMS;

/** A problem document (RFC 9457), as it is serialised. */
export type Problem = {
  /** `/problems/<code>`: an address of this service that explains it. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  /** The request's id, as in `X-Request-Id` and the log. Absent in a job's failure, which belongs to no request. */
  readonly instance?: string;
  readonly errors?: FieldError[];
};

/** Media type of a {@link Problem}. */
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/** What the table says of a code, or undefined for one it does not have. */
export function problemSpec(code: string): ProblemSpec | undefined {
  return Object.hasOwn(PROBLEMS, code) ? PROBLEMS[code as ProblemCode] : undefined;
}

/** The address that explains a code, relative to the service. */
export function problemType(code: string): string {
  return `/problems/${code}`;
}

/** What {@link problemOf} reads of a failure: an error of ours, or the failure in a job's record. */
type Failure = {
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly fields?: readonly FieldError[];
};

/** A failure as a problem. A code that is not in the table (a newer worker's) is a 500 under its own name. */
export function problemOf(failure: Failure, instance?: string): Problem {
  return {
    type: problemType(failure.code),
    title: failure.title,
    status: problemSpec(failure.code)?.status ?? 500,
    detail: failure.detail,
    code: failure.code,
    ...(instance !== undefined && { instance }),
    ...(failure.fields?.length && { errors: [...failure.fields] }),
  };
}

/**
 * Any thrown value as a problem and the `Retry-After` it comes with. What is not ours becomes `internal`, and nothing of
 * it is shown.
 */
export function problemOfError(
  thrown: unknown,
  instance: string,
): { readonly problem: Problem; readonly retryAfterSeconds: number | undefined } {
  const { code, title, fields, message, retryAfterSeconds } = toLoradropError(thrown);
  return {
    problem: problemOf({ code, title, detail: message, fields }, instance),
    retryAfterSeconds: retryAfterSeconds ?? problemSpec(code)?.retryAfterSeconds,
  };
}
