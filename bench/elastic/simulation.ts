/**
 * A pool of workers behind a queue as a discrete-event simulation: seconds of simulated time, seeded.
 * @module
 */

/** What a controller sees, and can ask. */
export interface View {
  time: number;
  /** Requests that no worker has taken, and uploads in hand. */
  waiting: number;
  busy: number;
  /** Workers that take requests; and those besides that start. */
  workers: number;
  starting: number;
}

/** Decides how many workers there should be. */
export interface Controller {
  /** Seconds between two decisions. */
  interval: number;
  started?(id: number, worker: number, time: number): void;
  reported?(report: { id: number; response: number; upload: number }, time: number): void;
  decide(view: View): number;
}

/** What came of it. */
export interface Outcome {
  /** Share of the requests that were done within the objective. */
  within: number;
  workerHours: number;
  changes: number;
  /** The most workers, by the most that the load keeps busy. */
  overshoot: number;
  /** Longest time on end, in seconds, in which requests came that were late. */
  recovery: number;
}

/** A load: requests per second at a time. */
export interface Load {
  name: string;
  seconds: number;
  most: number;
  rate: (time: number) => number;
}

/** Seconds of an upload. */
export const upload = { min: 5, max: 15, mean: 10 };

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 4294967296;
  };
}

/** The requests of a load: a Poisson process of its rate, by thinning. Uploads take any time of the range, in seconds, as likely as any other. */
export function requestsOf(
  load: Load,
  seed: number,
  range: { min: number; max: number } = upload,
): { at: number; upload: number }[] {
  const random = seeded(seed);
  const requests: { at: number; upload: number }[] = [];
  for (let at = 0;;) {
    at += -Math.log(1 - random()) / load.most;
    if (at > load.seconds) return requests;
    if (random() * load.most > load.rate(at)) continue;
    requests.push({ at, upload: range.min + random() * (range.max - range.min) });
  }
}

/** Runs a load with a controller. */
export function simulate(
  load: Load,
  requests: { at: number; upload: number }[],
  controller: Controller,
  { objective, startTime, first }: { objective: number; startTime: number; first: number },
): Outcome {
  const queue: number[] = [];
  const idle: number[] = [];
  /** Ends of uploads and of starts, in order. */
  const events: { at: number; worker: number; request?: number }[] = [];
  const starting = new Set<number>();
  const response = new Float64Array(requests.length).fill(Infinity);
  let names = 0;
  let busy = 0;
  let leaving = 0;
  let paid = 0;
  let changes = 0;
  let most = first;
  let wanted = first;
  let head = 0;

  function schedule(event: (typeof events)[number]) {
    let low = 0;
    for (let high = events.length; low < high;) {
      const middle = low + high >> 1;
      if (events[middle]!.at > event.at) low = middle + 1;
      else high = middle;
    }
    events.splice(low, 0, event);
  }
  function take(worker: number, time: number) {
    if (leaving > 0) return void leaving--;
    if (head === queue.length) return void idle.push(worker);
    const request = queue[head++]!;
    busy++;
    controller.started?.(request, worker, time);
    schedule({ at: time + requests[request]!.upload, worker, request });
  }
  function start(count: number, time: number) {
    for (; count > 0; count--) {
      const worker = names++;
      if (startTime === 0) {
        take(worker, time);
        continue;
      }
      starting.add(worker);
      schedule({ at: time + startTime, worker });
    }
  }
  function stop(count: number) {
    for (; count > 0; count--) {
      const [last] = [...starting].slice(-1);
      if (last !== undefined) starting.delete(last);
      else if (idle.length > 0) idle.pop();
      else leaving++;
    }
  }
  for (let worker = 0; worker < first; worker++) idle.push(names++);

  let next = 0;
  let tick = controller.interval;
  let before = 0;
  const end = load.seconds + 3600;
  while (true) {
    const arrival = requests[next]?.at ?? Infinity;
    const event = events.at(-1)?.at ?? Infinity;
    const time = Math.min(arrival, event, tick);
    if (time > load.seconds && busy === 0 && head === queue.length || time > end) break;
    if (time <= load.seconds) {
      const length = time - before;
      paid += (idle.length + busy + starting.size) * length;
      before = time;
    }
    if (time === arrival) {
      queue.push(next++);
      if (idle.length > 0) take(idle.shift()!, time);
    } else if (time === event) {
      const { worker, request } = events.pop()!;
      if (request !== undefined) {
        busy--;
        response[request] = time - requests[request]!.at;
        const { upload } = requests[request]!;
        controller.reported?.({ id: request, response: response[request]!, upload }, time);
        take(worker, time);
      } else if (starting.delete(worker)) take(worker, time);
    } else {
      tick += controller.interval;
      const workers = idle.length + busy - leaving;
      const view = { time, waiting: queue.length - head, busy, workers, starting: starting.size };
      const asked = Math.max(0, Math.min(200, Math.round(controller.decide(view))));
      if (asked !== wanted && time <= load.seconds) changes++;
      wanted = asked;
      most = Math.max(most, time <= load.seconds ? wanted : 0);
      const there = workers + starting.size;
      if (wanted > there) {
        const kept = Math.min(leaving, wanted - there);
        leaving -= kept;
        start(wanted - there - kept, time);
      } else stop(there - wanted);
    }
  }
  const late = requests.filter((_, index) => response[index]! > objective).map(({ at }) => at);
  let recovery = 0;
  for (let index = 0, since = 0; index < late.length; index++) {
    if (index === 0 || late[index]! - late[index - 1]! > 30) since = late[index]!;
    recovery = Math.max(recovery, late[index]! - since);
  }
  return {
    within: 1 - late.length / requests.length,
    workerHours: paid / 3600,
    changes,
    overshoot: most / Math.ceil(load.most * upload.mean),
    recovery,
  };
}
