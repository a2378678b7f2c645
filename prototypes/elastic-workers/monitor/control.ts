/**
 * The control law: how many workers an app should have, and why. A pure function from measurements to a decision; the README derives it.
 * @module
 */
import type { Measurements } from "./meter.ts";

/** What a user asks for. Times are seconds. */
export interface Policy {
  /** Response time that 95 of 100 requests should stay below. */
  objective: number;
  /** Fewest and most workers. */
  min: number;
  max: number;
  /** How far the measurements look back. */
  window: number;
  /** How far they look back for a burst. */
  shortWindow: number;
  /** Time after a change in which no worker is taken away. */
  cooldown: number;
}

/** What a decision leaves for the next one. */
export interface Memory {
  /** Workers wanted. */
  workers: number;
  /** When that changed last, and when it was raised because responses were late. */
  changed: number;
  guarded: number;
  /** Until when a burst goes on. */
  burstUntil: number;
  /** What would have been enough, of the last `cooldown` seconds. */
  enough: { time: number; workers: number }[];
}

/** How many workers, and why. */
export interface Decision {
  workers: number;
  /** For people. */
  reason: string;
  /** For the next decision. */
  memory: Memory;
}

/** Share of requests that may miss the objective. */
const MAY_MISS = 0.05;
/** How many times the load those must be enough for that are left when a worker is taken away (hysteresis). */
const GROWTH = 1.1;
/** Most workers added at once: as many as there are, or so many; and taken away at once: this share, or one. */
const LEAST_STEP_UP = 4;
const STEP_DOWN = 1 / 3;
/** Standard deviations of a Poisson process above which arrivals are a burst and not chance. */
const SIGNIFICANT = 3;

/** What there is to remember at first: the workers that are there. */
export function firstMemory(workers: number, { min, max }: Policy, time: number): Memory {
  return {
    workers: clamp(workers, min, max),
    changed: time,
    guarded: -Infinity,
    burstUntil: -Infinity,
    enough: [],
  };
}

/** Decides. */
export function decide(measured: Measurements, memory: Memory, policy: Policy): Decision {
  const { time } = measured;
  const before = memory.workers;
  const wish = wishOf(measured, memory, policy);
  const enough = [
    ...memory.enough.filter((each) => each.time > time - policy.cooldown),
    { time, workers: wish.enough },
  ];
  const next = { ...memory, burstUntil: wish.burstUntil, enough };
  function to(workers: number, reason: string, more: Partial<Memory> = {}): Decision {
    const limited = clamp(workers, policy.min, policy.max);
    const why = limited < workers
      ? `${reason}; --max allows ${limited}`
      : limited > workers
      ? `${reason}; --min is ${limited}`
      : reason;
    const changed = limited === before ? memory.changed : time;
    return {
      workers: limited,
      reason: why,
      memory: { ...next, workers: limited, changed, ...more },
    };
  }

  const blind = blindness(measured, policy);
  if (blind) return to(before, blind);
  if (wish.workers > before) {
    const step = Math.max(LEAST_STEP_UP, before);
    const limited = Math.min(wish.workers, before + step);
    return to(limited, limited < wish.workers ? `${wish.reason}; ${step} at once` : wish.reason);
  }
  if (isLate(measured, policy)) {
    if (time - Math.max(memory.changed, memory.guarded) < policy.window || !allBusy(measured)) {
      return to(before, `95 % take ${seconds(measured.p95!)}: holding`);
    }
    const more = Math.ceil(before / 10);
    return to(before + more, `95 % take ${seconds(measured.p95!)} and all workers are busy`, {
      guarded: time,
    });
  }
  const fewer = Math.max(...enough.map(({ workers }) => workers));
  if (fewer >= before) return to(before, wish.reason);
  if (measured.watched < policy.window) {
    return to(before, "watching for less than the window: holding");
  }
  if (time < wish.burstUntil) return to(before, "after a burst: holding");
  if (time - memory.changed < policy.cooldown) return to(before, "cooling down: holding");
  const step = Math.max(1, Math.floor(before * STEP_DOWN));
  return to(
    Math.max(fewer, before - step),
    `${count(fewer)} would have been enough for ${seconds(policy.cooldown)}`,
  );
}

/** How many workers the load asks for, and how many would be enough even if it grew a little. */
function wishOf(measured: Measurements, memory: Memory, policy: Policy) {
  const { waiting, workers, arrivalRate, recentRate, time } = measured;
  const service = measured.serviceTime ?? policy.objective / 2;
  const slack = slackOf(measured, policy);
  const guess = measured.serviceTime === undefined ? ` (a guess: no upload is done yet)` : "";

  const expected = Math.max(1, arrivalRate * policy.shortWindow);
  const excess = recentRate * policy.shortWindow - expected;
  const isBurst = excess > SIGNIFICANT * Math.sqrt(expected);
  const burstUntil = isBurst ? time + policy.window : memory.burstUntil;
  const rate = isBurst ? recentRate : arrivalRate;

  const load = rate * service;
  const { max } = policy;
  const steady = staffing(load, slack / service, MAY_MISS, max);
  // Those that wait now are served within the time that the objective leaves, beside what arrives meanwhile. Where workers take longer to come
  // than that, those that wait are late whatever is done, and more workers than drain it in that time would come for little work.
  const within = Math.max(slack, measured.startTime);
  const drain = waiting > 0 ? Math.ceil(load + waiting * service / within) : 0;
  const tolerated = steady - load;
  const drains = waiting * service / within > tolerated;
  const busy = `${isBurst ? "a burst of " : ""}${rate.toFixed(2)} requests/s x ${
    seconds(service)
  } keep ${load.toFixed(1)} workers busy`;
  const backlog = `${waiting} waiting take ${count(workers)} ${
    workers > 0 ? seconds(waiting * service / workers) : "for ever"
  }, the objective leaves ${seconds(slack)}`;
  const reason = `${drains && drain >= steady ? `${backlog}; ${busy}` : busy}${guess}`;
  return {
    workers: Math.max(steady, drains ? drain : 0),
    enough: Math.max(staffing(GROWTH * load, slack / service, MAY_MISS, max), drains ? drain : 0),
    reason,
    burstUntil,
  };
}

/** Seconds that a request may wait for a worker: what the objective leaves beside the upload itself, and a little when that alone takes longer. */
function slackOf({ serviceTime, serviceP95 }: Measurements, { objective }: Policy): number {
  if (serviceTime === undefined || serviceP95 === undefined) return objective / 2;
  return Math.max(objective - serviceP95, serviceTime / 4, 0.1);
}

/**
 * The fewest workers with which the share of requests that wait longer than `patience` service times is at most `share`: M/M/N, Erlang's C
 * formula.
 *
 * @param load arrival rate times service time: the mean number of busy workers
 * @param most where to stop looking: one more than this means "more"
 */
export function staffing(load: number, patience: number, share: number, most: number): number {
  if (!(load > 0)) return 0;
  if (load >= most) return most + 1;
  // Erlang's B by its recursion, so that no factorial overflows.
  let blocking = 1;
  for (let workers = 1; workers <= most; workers++) {
    blocking = load * blocking / (workers + load * blocking);
    if (workers <= load) continue;
    const waits = blocking / (1 - load / workers * (1 - blocking));
    if (waits * Math.exp(-(workers - load) * patience) <= share) return workers;
  }
  return most + 1;
}

/** Why nothing can be decided, if so. */
function blindness({ silence, workers, waiting, busy, serviceP95 }: Measurements, policy: Policy) {
  const limit = Math.max(policy.window, 3 * (serviceP95 ?? policy.objective));
  if (workers === 0 || waiting + busy === 0 || silence <= limit) return undefined;
  return `no report for ${seconds(silence)} though there is work: holding`;
}

/** Whether the responses are late for want of workers: more late than the uploads alone make them. */
function isLate({ p95, serviceP95 }: Measurements, { objective }: Policy): boolean {
  return p95 !== undefined && p95 > objective && p95 > 1.25 * (serviceP95 ?? 0);
}

function allBusy({ waiting, busy, workers }: Measurements): boolean {
  return waiting > 0 || busy >= workers;
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value));
}

function count(workers: number): string {
  return `${workers} worker${workers === 1 ? "" : "s"}`;
}

function seconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
}
