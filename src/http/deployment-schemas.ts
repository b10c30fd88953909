/** What the API says of deployments, as schemas. */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN, NAME_PATTERN } from '../base/ids.ts';
import { DEPLOYMENT_STATES } from '../jobs/deployment.ts';
import { REPLICA_STATES } from '../serving/bring.ts';
import { TARGET_NAME_PATTERN } from '../serving/targets.ts';

/** Most targets of one request. */
export const MAX_DEPLOYS = 8;
/** Most deployments on a page. */
const MAX_PAGE = 100;
/** Deployments on a page where the client names no limit. */
export const DEFAULT_PAGE = 20;

const closed = { additionalProperties: false } as const;
const Id = Type.String({ pattern: ID_PATTERN });
const Time = Type.String({ format: 'date-time' });
const Url = Type.String({ format: 'uri-reference', description: 'Relative to the service.' });

/** Fields that say where an adapter is to be loaded. */
export const DEPLOY_FIELDS = {
  target: Type.String({
    pattern: TARGET_NAME_PATTERN,
    description: 'A deploy target that the operator lets your tenant use.',
  }),
  name: Type.Optional(
    Type.String({
      pattern: NAME_PATTERN,
      description:
        'What successive adapters are called there, before their version. Once a newer adapter is on every replica, the older one of this name is unloaded. Default: the adapter’s id.',
    }),
  ),
};

/** The body that deploys an adapter. */
export const DeployRequest = Type.Object(DEPLOY_FIELDS, { ...closed, examples: [{ target: 'chat' }] });

/** The path parameter of deployments. */
export const DeploymentParams = Type.Object({ id: Id });

/** Page of the listing of deployments. */
export const DeploymentListQuery = Type.Object(
  {
    cursor: Type.Optional(Type.String({ maxLength: 200, description: '`nextCursor` of the page before.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE })),
  },
  closed,
);

const replicaFields = {
  replica: Type.String({ description: 'Host and port.' }),
  state: Type.Enum([...REPLICA_STATES], {
    description:
      '`loaded`: it lists the adapter. `on-request`: it loads with the first request. `missing`: it has to be started with the file. `forgotten`: it said yes and lists nothing. `unapplied`: it lists the adapter and answers as the base does.',
  }),
  at: Time,
  loads: Type.Integer({ description: 'Times that the adapter was loaded here.' }),
  applied: Type.Optional(
    Type.Union([Type.Boolean(), Type.Literal('unknown')], {
      description:
        'Whether log-probabilities of fixed prompts with the adapter differ from those without it by more than the server’s noise.',
    }),
  ),
  difference: Type.Optional(
    Type.Number({ description: 'Largest difference of a token’s log-probability, with and without.' }),
  ),
  noise: Type.Optional(Type.Number({ description: 'The same between two equal questions to the base.' })),
  detail: Type.Optional(Type.String()),
};

const commonFields = {
  target: Type.String(),
  name: Type.Optional(Type.String()),
  adapter: Id,
  state: Type.Enum([...DEPLOYMENT_STATES], {
    description:
      '`partial`: some replicas have it. `failing`: none has it, and those that answer say no; it is tried again. `refused`: the target is gone or does not take the adapter. `removing`: no longer wanted; replicas that are away keep it until they answer.',
  }),
  servedName: Type.Optional(
    Type.String({
      description: 'What the servers call it: `tenant/name@commit`, never given to other bytes.',
    }),
  ),
  use: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: 'What a request to the servers carries to use it.',
    }),
  ),
  replicas: Type.Array(Type.Object(replicaFields)),
  nextAttemptAt: Type.Optional(Time),
  error: Type.Optional(
    Type.Object(
      { code: Type.String(), title: Type.String(), detail: Type.String() },
      { description: 'Why no replica could be asked.' },
    ),
  ),
};

/** A deployment as its job shows it: before the job has succeeded it has no id yet. */
export const JobDeploymentView = Type.Object(
  { id: Type.Optional(Id), ...commonFields },
  { $id: 'JobDeployment', description: 'An adapter at a deploy target.' },
);
/** A deployment as clients see it. */
export const DeploymentView = Type.Object(
  { id: Id, ...commonFields, createdAt: Time, expiresAt: Time, url: Url },
  { $id: 'Deployment', description: 'An adapter at a deploy target, and how every replica stands.' },
);
/** See {@link DeploymentView}. */
export type DeploymentView = Static<typeof DeploymentView>;
/** See {@link JobDeploymentView}. */
export type JobDeploymentView = Static<typeof JobDeploymentView>;

/** A page of deployments. */
export const DeploymentList = Type.Object(
  {
    deployments: Type.Array(Type.Ref('Deployment')),
    nextCursor: Type.Optional(Type.String({ description: 'Absent on the last page.' })),
  },
  { $id: 'DeploymentList', description: 'Newest first.' },
);

/** Schemas that become components of the OpenAPI document. */
export const DEPLOYMENT_COMPONENTS: readonly TSchema[] = [JobDeploymentView, DeploymentView, DeploymentList];
