/** A fleet of workers as a discrete-event simulation: arrivals and service times in, waits out. Pure and seeded. */

/** What one job takes, in milliseconds. */
export type Service = {
  /** From the queue to the engine, less what it waits there: taking the job, reading it, handing it over. */
  readonly overheadMs: number;
  /** Of the worker's one engine, which does one job after the other. */
  readonly engineMs: number;
  /** In which the engine is free and the next job, though it waits, has not come to it yet. */
  readonly handOverMs: number;
  /** Writing and storing, beside the next job's engine time. */
  readonly storeMs: number;
};

/** What is simulated. */
export type Fleet = {
  readonly workers: number;
  /** Jobs a worker holds at once: one has the engine, the others wait for it or are being stored. */
  readonly concurrency: number;
  /** Times in rising order, in milliseconds. */
  readonly arrivals: Float64Array;
  /** What the job of this number takes. */
  readonly service: (job: number) => Service;
};

/** Milliseconds by job: `waits` from arrival to the engine's beginning with it, `sojourns` to its being stored. */
export type Outcome = { readonly waits: Float64Array; readonly sojourns: Float64Array };

/**
 * Runs the fleet. Jobs start in the order in which they came. As in the queue, a job goes to the worker that has been asking for
 * the longest, whether its engine is busy or not, as long as it holds fewer than `concurrency`.
 */
export function simulateFleet({ workers, concurrency, arrivals, service }: Fleet): Outcome {
  const waits = new Float64Array(arrivals.length);
  const sojourns = new Float64Array(arrivals.length);
  const room = new Int32Array(workers).fill(concurrency);
  const engineFreeAt = new Float64Array(workers);
  const asking = createFifo(workers);
  for (let worker = 0; worker < workers; worker++) asking.push(worker);
  const endings = createHeap(workers * concurrency);
  let next = 0;

  /** Gives the next job to a worker at this time. */
  const start = (worker: number, at: number) => {
    const job = next++;
    const { overheadMs, engineMs, handOverMs, storeMs } = service(job);
    const begins = Math.max(at + overheadMs, engineFreeAt[worker]!);
    const ends = begins + engineMs;
    engineFreeAt[worker] = ends + handOverMs;
    room[worker]! -= 1;
    endings.push(ends + storeMs, worker);
    waits[job] = begins - arrivals[job]!;
    sojourns[job] = ends + storeMs - arrivals[job]!;
  };

  for (let arrived = 0; arrived <= arrivals.length; arrived++) {
    const now = arrivals[arrived] ?? Number.POSITIVE_INFINITY;
    while (endings.size > 0 && endings.least() <= now) {
      const at = endings.least();
      const worker = endings.take();
      room[worker]! += 1;
      if (next < arrived) start(worker, at);
      // With room before, it is asking already.
      else if (room[worker] === 1) asking.push(worker);
    }
    if (arrived === arrivals.length || next < arrived || asking.size === 0) continue;
    const worker = asking.shift();
    start(worker, now);
    if (room[worker]! > 0) asking.push(worker);
  }
  return { waits, sojourns };
}

/** Numbers in the order in which they came, at most `most` at a time. */
function createFifo(most: number) {
  const places = new Int32Array(most + 1);
  let [head, tail] = [0, 0];
  return {
    get size() {
      return (tail - head + places.length) % places.length;
    },
    push(value: number) {
      places[tail] = value;
      tail = (tail + 1) % places.length;
    },
    shift() {
      const value = places[head]!;
      head = (head + 1) % places.length;
      return value;
    },
  };
}

/** Workers by time, the earliest first: a binary heap. */
function createHeap(most: number) {
  const times = new Float64Array(most);
  const workers = new Int32Array(most);
  let size = 0;
  const swap = (a: number, b: number) => {
    [times[a], times[b]] = [times[b]!, times[a]!];
    [workers[a], workers[b]] = [workers[b]!, workers[a]!];
  };
  return {
    get size() {
      return size;
    },
    least: () => times[0]!,
    push(time: number, worker: number) {
      let at = size++;
      [times[at], workers[at]] = [time, worker];
      for (let above = (at - 1) >> 1; at > 0 && times[above]! > times[at]!; above = (at - 1) >> 1) {
        swap(at, above);
        at = above;
      }
    },
    take() {
      const worker = workers[0]!;
      size -= 1;
      swap(0, size);
      for (let at = 0; ; ) {
        const [left, right] = [2 * at + 1, 2 * at + 2];
        let least = at;
        if (left < size && times[left]! < times[least]!) least = left;
        if (right < size && times[right]! < times[least]!) least = right;
        if (least === at) return worker;
        swap(at, least);
        at = least;
      }
    },
  };
}
