/** The addresses of things, relative to the service. */
import type { LinkTarget } from '../access/link.ts';

/** A job. */
export const jobUrl = (id: string): string => `/jobs/${id}`;
/** A job's event stream. */
export const jobEventsUrl = (id: string): string => `/jobs/${id}/events`;
/** The deliveries of a job's webhook. */
export const jobDeliveriesUrl = (id: string): string => `/jobs/${id}/deliveries`;
/** Where a delivery is sent anew. */
export const deliveryReplayUrl = (id: string, n: number): string => `/jobs/${id}/deliveries/${n}/replay`;
/** An adapter. */
export const adapterUrl = (id: string): string => `/adapters/${id}`;
/** A file of an adapter. */
export const adapterFileUrl = (id: string, file: string): string => `/adapters/${id}/${file}`;
/** An adapter's archive. */
export const adapterArchiveUrl = (id: string): string => `/adapters/${id}.tar`;
/** A file of an adapter for whoever has the link; `signature` shows that it was made here. */
export const signedFileUrl = ({ tenant, id, file, expiresAt }: LinkTarget, signature: string): string =>
  `/links/${tenant}/${id}/${file}?expires=${expiresAt}&signature=${signature}`;
/** A name. */
export const nameUrl = (name: string): string => `/names/${name}`;
/** A deployment. */
export const deploymentUrl = (id: string): string => `/deployments/${id}`;
/** What Hub clients ask of a repository first. */
export const repositoryUrl = (owner: string, name: string): string => `/api/models/${owner}/${name}`;
/** A model. */
export const modelUrl = (id: string): string => `/models/${encodeURIComponent(id)}`;
