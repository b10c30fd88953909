/** The addresses of things, relative to the service. */

/** A job. */
export const jobUrl = (id: string): string => `/jobs/${id}`;
/** A job's event stream. */
export const jobEventsUrl = (id: string): string => `/jobs/${id}/events`;
/** An adapter. */
export const adapterUrl = (id: string): string => `/adapters/${id}`;
/** A file of an adapter. */
export const adapterFileUrl = (id: string, file: string): string => `/adapters/${id}/${file}`;
/** An adapter's archive. */
export const adapterArchiveUrl = (id: string): string => `/adapters/${id}.tar`;
/** A model. */
export const modelUrl = (id: string): string => `/models/${encodeURIComponent(id)}`;
