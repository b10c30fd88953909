/** Every failure of a request → one problem document. */

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { LoradropError } from '../../base/errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { httpErrors } from '../errors.ts';
import { isOpenaiAddress, openaiError } from '../openai-error.ts';
import { PROBLEM_MEDIA_TYPE, problemOfError } from '../problem.ts';
import type { App } from '../services.ts';
import { listed, PROMPT_BODY_TYPES, wrongType } from '../wrong-type.ts';
import { SECURITY_HEADERS } from './headers.ts';
import { refusalOf } from './validation.ts';

/** What the framework's own failures are in our terms; what is not here is a defect of ours. */
const FRAMEWORK_ERRORS: Readonly<Record<string, (request: FastifyRequest) => LoradropError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => httpErrors.bodyTooLarge('The body is larger than this service takes.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    httpErrors.requestMalformed('The body is not as long as Content-Length says.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ({ headers }) => httpErrors.mediaType(wrongType(headers['content-type'])),
  FST_ERR_CTP_EMPTY_TYPE: () =>
    httpErrors.mediaType(`There is a body without a Content-Type; send ${listed(PROMPT_BODY_TYPES)}.`),
  FST_ERR_BAD_URL: () => httpErrors.urlInvalid('The path cannot be percent-decoded.'),
  FST_ERR_MAX_PARAM_LENGTH: () => httpErrors.uriTooLong('A part of the path is too long.'),
  ECONNRESET: () => httpErrors.requestMalformed('The connection ended before the request did.'),
  ERR_STREAM_PREMATURE_CLOSE: () =>
    httpErrors.requestMalformed('The connection ended before the request did.'),
};

function translate(error: unknown, request: FastifyRequest): unknown {
  if (error instanceof LoradropError || !(error instanceof Error)) return error;
  const { validation, validationContext, code } = error as Partial<FastifyError>;
  if (validation) return refusalOf(validation, validationContext);
  return code !== undefined && Object.hasOwn(FRAMEWORK_ERRORS, code)
    ? FRAMEWORK_ERRORS[code]!(request)
    : error;
}

/**
 * How long a refused connection may stay so that the answer is read: one that is closed with bytes unread is reset, and the
 * answer with it.
 */
const LINGER_MS = 1000;

/** Answers a request with the problem of whatever was thrown, and logs what the client is not shown. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { problem, retryAfterSeconds } = problemOfError(translate(error, request), request.id);
  if (request.seen) request.seen.problem = problem.code;
  if (problem.status === 500) request.log.error({ err: error, code: problem.code }, 'request failed');
  else if (problem.status > 500) request.log.warn({ err: error, code: problem.code }, 'request failed');
  else request.log.debug({ code: problem.code, errors: problem.errors }, 'request refused');
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(Math.ceil(retryAfterSeconds)));
  // An upload that nobody will read has to end: keeping the connection would mean reading it to its end.
  if (hasBody(request) && !request.raw.complete) reply.header('connection', 'close');
  reply.code(problem.status);
  if (isOpenaiAddress(request.url)) {
    // Its clients try a conflict again by themselves, which mends none of ours.
    if (problem.status === 409) reply.header('x-should-retry', 'false');
    void reply.type('application/json').send(JSON.stringify(openaiError(problem)));
  } else void reply.type(PROBLEM_MEDIA_TYPE).send(JSON.stringify(problem));
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

/** Makes the application answer every failure with a problem. */
export function installProblems(app: App): void {
  const nothing = () => httpErrors.routeNotFound('Nothing is served at this address.');
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  // Here, so that the body of a request to nowhere is neither read nor judged; the handler is for the documents' files.
  app.addHook('onRequest', async (request) => {
    if (request.is404) throw nothing();
  });
  app.setNotFoundHandler((request, reply) => sendProblem(nothing(), request, reply));
}

/** Answers failures that come before routing, for which no hook has run. */
export function answerFrameworkError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(error, request, reply.header('x-request-id', request.id).headers(SECURITY_HEADERS));
}

/**
 * Answers bytes that never became a request (Node's `clientError`): too large headers, a stalled or malformed head. The
 * connection ends with it.
 */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { requestId, logger }: { requestId: string; logger: Logger },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable || answering(socket)) {
    socket.destroy();
    return;
  }
  const failure =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? httpErrors.headersTooLarge('The headers take more than 16 KiB.')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? httpErrors.requestTimeout('The request was not complete in time.')
        : httpErrors.requestMalformed('The bytes received are not an HTTP request.');
  const { problem } = problemOfError(failure, requestId);
  logger.debug({ requestId, code: problem.code }, 'connection refused');
  const body = JSON.stringify(problem);
  const headers = {
    ...SECURITY_HEADERS,
    'content-type': PROBLEM_MEDIA_TYPE,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    'x-request-id': requestId,
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${head.join('')}\r\n${body}`);
  // The client's side stays open until it closes it, which one that is slow on purpose never does.
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(linger));
}

/** Whether an answer is under way on the connection, which a problem in the middle of it would only damage. */
function answering(socket: Socket): boolean {
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: { headersSent: boolean } | null };
  return answer?.headersSent ?? false;
}
