/** What a worker's processor throws to tell BullMQ how a run ended; a plain Error means "try again while attempts are left". */
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';

/** The job has failed, whatever attempts are left. `reason` is kept as its failure. */
export function finalFailure(reason: string): Error {
  return new UnrecoverableError(reason);
}

/** The job no longer belongs to this worker: it was handed back, or taken by another one. */
export function letGo(): Error {
  return new WaitingError();
}

/** The job was put off to a later moment. */
export function putOff(): Error {
  return new DelayedError();
}
