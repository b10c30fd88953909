import type { BullQueue } from './backend.ts';

/** Ids read for positions. Deeper jobs have no known position: reading on would cost more than the number is worth. */
const MAX_RANKED = 10_000;
/** A position moves by one with every job that starts; reading the list for each reader anew would be for nothing. */
const MAX_AGE_MS = 500;

/** Tells how many jobs start before a waiting one. */
export type QueuePositions = {
  /** The position of a waiting job by BullMQ's id; undefined when it is not waiting, or too deep. */
  of(queueId: string): Promise<number | undefined>;
};

/** Makes {@link QueuePositions} over a queue whose jobs all have a priority. All callers share one read in half a second. */
export function createQueuePositions(queue: BullQueue, now: () => number = Date.now): QueuePositions {
  let readAt = Number.NEGATIVE_INFINITY;
  let ranks: Promise<ReadonlyMap<string, number>> = Promise.resolve(new Map());

  const read = () => {
    readAt = now();
    ranks = queue
      .getRanges(['prioritized'], 0, MAX_RANKED - 1, true)
      .then((ids) => new Map(ids.map((id, rank) => [id, rank])));
    return ranks;
  };
  return {
    async of(queueId) {
      const calledAt = now();
      const rank = calledAt - readAt < MAX_AGE_MS ? (await ranks).get(queueId) : undefined;
      if (rank !== undefined) return rank;
      // Not there: it may have been added since, unless somebody else has just looked.
      return (await (readAt < calledAt ? read() : ranks)).get(queueId);
    },
  };
}
