/**
 * The control law: how many workers an app should have, and why. A pure function from measurements to a decision; the README derives it.
 * @module
 */
import { HOUR, type Measurements } from "./meter.ts";

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
  enough: Level[];
  /** What was asked for, back to the time that a worker takes to come. */
  asked: Level[];
  /** The most that the load took in each minute of the last hour. */
  peaks: Level[];
}

/** A number of workers at a time. */
export interface Level {
  time: number;
  workers: number;
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
/** Share of the time that the objective leaves in which those that wait are to be served: the next decision is a little later. */
const MARGIN = 0.8;
/** Standard deviations above which a rise of the arrival rate is believed. */
const CREDIBLE = 1;
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
    asked: [],
    peaks: [],
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
  next.peaks = withPeak(memory.peaks, { time, workers: wish.sustained });
  function to(workers: number, reason: string, more: Partial<Memory> = {}): Decision {
    const limited = clamp(workers, policy.min, policy.max);
    const why = limited < workers
      ? `${reason}; --max allows ${limited}`
      : limited > workers
      ? `${reason}; --min is ${limited}`
      : reason;
    const changed = limited === before ? memory.changed : time;
    const asked = withLevel(memory.asked, { time, workers: limited }, measured.startTime ?? 0);
    return {
      workers: limited,
      reason: why,
      memory: { ...next, workers: limited, changed, asked, ...more },
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
  const fewer = most(enough);
  if (fewer >= before) return to(before, wish.reason);
  // Nobody comes in time for the next rise: who was needed for the last one stays until the misses are made up for.
  if (!wish.inTime && measured.lateShare > MAY_MISS && most(next.peaks) >= before) {
    return to(before, `${percent(measured.lateShare)} of the last hour were late: holding`);
  }
  if (measured.watched < policy.window) {
    return to(before, "watching for less than the window: holding");
  }
  if (time < wish.burstUntil) return to(before, "after a burst: holding");
  if (time - memory.changed < policy.cooldown) return to(before, "cooling down: holding");
  const step = Math.max(1, Math.floor(before * STEP_DOWN));
  const kept = !wish.inTime && measured.lateShare > MAY_MISS ? most(next.peaks) : 0;
  return to(
    Math.max(fewer, kept, before - step),
    `${count(fewer)} would have been enough for ${seconds(policy.cooldown)}`,
  );
}

/** How many workers the load asks for, and how many would be enough even if it grew a little. */
function wishOf(measured: Measurements, memory: Memory, policy: Policy) {
  const { waiting, workers, arrivalRate, recentRate, startTime, time } = measured;
  const service = measured.serviceTime ?? policy.objective / 2;
  const slack = slackOf(measured, policy);
  const lead = startTime ?? 0;
  /** Whether workers that are asked for now come in time for those that wait now. */
  const inTime = startTime !== undefined && startTime <= slack / 2;

  const expected = Math.max(1, arrivalRate * policy.shortWindow);
  const excess = recentRate * policy.shortWindow - expected;
  const isBurst = excess > SIGNIFICANT * Math.sqrt(expected);
  const burstUntil = isBurst ? time + policy.window : memory.burstUntil;
  // The window's rate is that of its middle, and who is asked for now comes later: by then it will have risen.
  const credible = Math.max(0, measured.trend - CREDIBLE * measured.trendDeviation);
  const rise = inTime ? 0 : credible * (lead + policy.window / 2);
  const rate = Math.max(isBurst ? recentRate : 0, arrivalRate + rise);

  const load = rate * service;
  const staff = (load: number) =>
    inTime ? Math.ceil(load) : staffing(load, slack / service, MAY_MISS, policy.max);
  const steady = staff(load);
  // In time, the queue is a part of the plan: it may be as long as is served within the objective. Else it is what will wait when workers come;
  // those are late whatever is done, and to drain them sooner than in another such time would take many workers for little work.
  const backlog = inTime ? waiting : backlogIn(lead, measured, memory.asked, { rate, service });
  const within = inTime ? MARGIN * (slack - lead) : Math.max(slack, lead);
  const drain = Math.ceil(backlog * service / within + (inTime || backlog === 0 ? 0 : load));
  const drains = drain > 0 && (inTime || backlog * service / within > steady - load);
  const busy = `${isBurst ? "a burst of " : ""}${rate.toFixed(2)} requests/s${
    rise > 0 ? ` in ${seconds(lead)}` : ""
  } x ${seconds(service)} keep ${load.toFixed(1)} workers busy`;
  const queue = `${waiting} waiting take ${count(workers)} ${
    workers > 0 ? seconds(waiting * service / workers) : "for ever"
  }, the objective leaves ${seconds(slack)}`;
  const guess = measured.serviceTime === undefined ? " (a guess: no upload is done yet)" : "";
  return {
    workers: Math.max(steady, drains ? drain : 0),
    enough: Math.max(staff(GROWTH * load), drains ? drain : 0),
    /** What the load of a whole window takes. */
    sustained: staff(arrivalRate * service),
    inTime,
    reason: `${waiting > 0 && drains && drain >= steady ? `${queue}; ${busy}` : busy}${guess}`,
    burstUntil,
  };
}

/**
 * How many will wait in `lead` seconds, when workers that are asked for now come: those that wait, and what arrives meanwhile, less what those do that
 * are there, and those that were asked for before and come until then (the dead time of a control loop, compensated as by a Smith predictor).
 */
function backlogIn(
  lead: number,
  { waiting, workers, time }: Measurements,
  asked: Level[],
  { rate, service }: { rate: number; service: number },
): number {
  const step = Math.max(1, lead / 60);
  const levelAt = (moment: number) =>
    asked.findLast((level) => level.time <= moment)?.workers ?? workers;
  let backlog = waiting;
  for (let passed = 0; passed < lead; passed += step) {
    const coming = Math.max(0, levelAt(time + passed - lead) - levelAt(time - lead));
    backlog = Math.max(0, backlog + (rate - (workers + coming) / service) * step);
  }
  return backlog;
}

/** Adds a level when it is another one; of those `seconds` ago and before, the last is kept. */
function withLevel(levels: Level[], level: Level, seconds: number): Level[] {
  const old = levels.findLastIndex(({ time }) => time <= level.time - seconds);
  const kept = levels.slice(Math.max(0, old));
  return kept.at(-1)?.workers === level.workers ? kept : [...kept, level];
}

/** Adds a level to the most of each minute. */
function withPeak(peaks: Level[], { time, workers }: Level): Level[] {
  const last = peaks.at(-1);
  if (last && time < last.time + 60) {
    return workers > last.workers ? [...peaks.slice(0, -1), { ...last, workers }] : peaks;
  }
  return [...peaks.filter((peak) => peak.time > time - HOUR), { time, workers }];
}

function most(levels: Level[]): number {
  return Math.max(0, ...levels.map(({ workers }) => workers));
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

/**
 * Whether the responses are late for want of workers: more late than the uploads alone make them, and somebody has waited (else it is the publisher's
 * clock that is behind).
 */
function isLate({ p95, serviceP95, sinceWaiting }: Measurements, policy: Policy): boolean {
  return p95 !== undefined && p95 > policy.objective && p95 > 1.25 * (serviceP95 ?? 0) &&
    sinceWaiting < 2 * policy.window;
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

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function seconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
}
