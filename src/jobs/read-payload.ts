import { Compile } from 'typebox/compile';
import { JOB_CATALOG, type JobName, type JobPayload } from './catalog.ts';
import { jobErrors } from './errors.ts';

const checks = new Map(Object.entries(JOB_CATALOG).map(([name, { payload }]) => [name, Compile(payload)]));

/**
 * The payload of a stored job, checked against the catalogue. Errors: `job-payload-invalid`, for instance for a job that
 * a newer version accepted.
 */
export function readPayload<N extends JobName>(name: N, text: string): JobPayload<N> {
  const payload: unknown = JSON.parse(text);
  const check = checks.get(name);
  if (!check?.Check(payload)) {
    const fields = [...(check?.Errors(payload) ?? [])].map(({ instancePath, message }) => ({
      pointer: instancePath,
      message,
    }));
    throw jobErrors.badPayload('A worker of another version may have to run it.', { fields });
  }
  return payload as JobPayload<N>;
}
