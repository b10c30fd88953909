import { defineErrors } from '../base/errors.ts';

/** Failures of requests, before any work starts. */
export const httpErrors = defineErrors({
  requestInvalid: {
    code: 'request-invalid',
    title: 'The request does not fit its schema.',
    retryable: false,
  },
  fieldUnknown: {
    code: 'field-unknown',
    title: 'The request has a field that is not known.',
    retryable: false,
  },
  optionsConflict: {
    code: 'options-conflict',
    title: 'Options of the request do not go together.',
    retryable: false,
  },
  idInvalid: { code: 'id-invalid', title: 'The id does not have the form of an id.', retryable: false },
  jsonInvalid: { code: 'json-invalid', title: 'The body is not JSON.', retryable: false },
  formInvalid: { code: 'form-invalid', title: 'The multipart form cannot be read.', retryable: false },
  bodyTooLarge: { code: 'body-too-large', title: 'The body is larger than is taken.', retryable: false },
  mediaType: {
    code: 'media-type-unsupported',
    title: 'The body has a type or encoding that is not taken.',
    retryable: false,
  },
  notAcceptable: {
    code: 'not-acceptable',
    title: 'The answer has no form that the Accept header allows.',
    retryable: false,
  },
  idempotencyKey: {
    code: 'idempotency-key-invalid',
    title: 'The Idempotency-Key header cannot be used.',
    retryable: false,
  },
  modelNotChosen: {
    code: 'model-not-chosen',
    title: 'The request names no model, and there is no default one.',
    retryable: false,
  },
  countTooLarge: {
    code: 'count-too-large',
    title: 'More adapters are asked for than are made at once.',
    retryable: false,
  },
  deadlineTooLong: {
    code: 'deadline-too-long',
    title: 'The deadline is further away than is allowed.',
    retryable: false,
  },
  retentionTooLong: {
    code: 'retention-too-long',
    title: 'The retention is longer than is allowed.',
    retryable: false,
  },
  metadataTooLarge: {
    code: 'metadata-too-large',
    title: 'There is more metadata than is kept.',
    retryable: false,
  },
  linksUnavailable: {
    code: 'links-unavailable',
    title: 'This service gives out no links that work without a key.',
    retryable: false,
  },
  precondition: {
    code: 'precondition-failed',
    title: 'The version there is not the one that was asked for.',
    retryable: false,
  },
  rangeNotSatisfiable: {
    code: 'range-not-satisfiable',
    title: 'The range lies past the end.',
    retryable: false,
  },
  nameTaken: {
    code: 'name-taken',
    title: 'The name is known as something else.',
    retryable: false,
  },
  jobUnfinished: {
    code: 'job-unfinished',
    title: 'The job was accepted, but did not finish while the request was held open.',
    retryable: true,
  },
  routeNotFound: { code: 'route-not-found', title: 'There is nothing at this address.', retryable: false },
  methodNotAllowed: {
    code: 'method-not-allowed',
    title: 'The address does not take this method.',
    retryable: false,
  },
  misdirected: {
    code: 'misdirected-request',
    title: 'The request is addressed to a host that is not served here.',
    retryable: false,
  },
  crossSite: {
    code: 'cross-site-refused',
    title: 'A page of another site may not make this request.',
    retryable: false,
  },
  urlInvalid: { code: 'url-invalid', title: 'The address cannot be decoded.', retryable: false },
  uriTooLong: { code: 'uri-too-long', title: 'The address is longer than is taken.', retryable: false },
  headersTooLarge: {
    code: 'headers-too-large',
    title: 'The headers are larger than is taken.',
    retryable: false,
  },
  requestMalformed: { code: 'request-malformed', title: 'The request is not HTTP.', retryable: false },
  requestTimeout: {
    code: 'request-timeout',
    title: 'The request did not arrive in time.',
    retryable: true,
  },
  tooManyConnections: {
    code: 'too-many-connections',
    title: 'The service has as many requests open as it takes.',
    retryable: true,
  },
  notReady: { code: 'not-ready', title: 'The service cannot take requests now.', retryable: true },
  draining: { code: 'draining', title: 'The service is stopping and takes no new work.', retryable: true },
});
