/** What vLLM and SGLang have in common: `GET /v1/models`, where adapters name their base as `parent`. */
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type Answer, callReplica, type Replica } from './call.ts';
import { servingErrors } from './errors.ts';

/** Text of a server that goes into a log; more of it tells nothing. */
const MAX_SHOWN_CHARS = 200;

const checkModels = Compile(
  Type.Object({
    data: Type.Array(
      Type.Object({
        id: Type.String(),
        root: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        parent: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      }),
    ),
  }),
);

/** The base and the adapters of a server. */
export type Models = {
  readonly base: string;
  readonly adapters: readonly { readonly name: string; readonly path?: string }[];
};

/** Asks a server for its models. Errors: `replica-unavailable`, `replica-refused`. */
export async function listModels(replica: Replica, options: { signal: AbortSignal }): Promise<Models> {
  const answer = await callReplica(replica, { path: '/v1/models', timeoutMs: 10_000, ...options });
  if (answer.status !== 200) throw refusal(replica, answer);
  const models = checkModels.Check(answer.body) ? answer.body.data : [];
  const base = models.find(({ parent }) => typeof parent !== 'string');
  if (!base) throw servingErrors.refused(`${replica.name} lists no base model.`);
  return {
    base: base.id,
    adapters: models
      .filter(({ parent }) => typeof parent === 'string')
      .map(({ id, root }) => ({ name: id, ...(typeof root === 'string' && { path: root }) })),
  };
}

/** An answer that says no. What the server says itself is the cause, for the log alone: it may hold paths. */
export function refusal({ name }: Replica, { status, body }: Answer) {
  return servingErrors.refused(`${name} answers with ${status}.`, { cause: new Error(messageOf(body)) });
}

/** What a server says of a failure. */
export function messageOf(body: unknown): string {
  const { error, message = body } = Object(body) as { error?: unknown; message?: unknown };
  const text = (Object(error) as { message?: unknown }).message ?? error ?? message ?? '';
  return (typeof text === 'string' ? text : JSON.stringify(text)).slice(0, MAX_SHOWN_CHARS);
}
