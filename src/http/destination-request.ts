/** Where a request wants its adapters copied → where they are copied. */
import type { Destination } from '../jobs/catalog.ts';
import { readPlace } from '../store/destination-rules.ts';
import { destinationErrors } from '../store/errors.ts';
import type { GenerateRequest } from './schemas.ts';
import type { HttpServices } from './services.ts';

/** The destination of a job, which its tenant may use. Errors: `destination-invalid`, `destination-not-allowed`. */
export function destinationOf(
  { destination }: Pick<GenerateRequest, 'destination'>,
  destinations: HttpServices['destinations'],
  tenant: string,
): Destination | undefined {
  if (!destination) return undefined;
  const place = readPlace(destination);
  destinations.check(tenant, place);
  return { type: destination.type, ...place };
}

/** Refuses a kind of destination that there is none of. Errors: `destination-invalid`. */
export function refuseDestinationType(destination: unknown): void {
  const { type } = Object(destination) as { type?: unknown };
  if (typeof type !== 'string' || type === 's3') return;
  throw destinationErrors.invalid('There are destinations of the type “s3” alone.', {
    fields: [{ pointer: '/destination/type', message: 'must be s3' }],
  });
}
