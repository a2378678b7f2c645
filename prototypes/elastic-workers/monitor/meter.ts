/**
 * What is measured of an app: its backlog, arrivals, service time, response time. It knows no broker and no clock; all times are seconds.
 *
 * - **Waiting** is what a passive `queue.declare` counts: messages ready for delivery (AMQP 0-9-1, queue.declare-ok, message-count).
 * - **Busy** is what it does not count: what is delivered and not acknowledged. A worker has one upload in hand, says so when it takes it, and
 *   reports it in the end: busy are those that have said so and not reported. A worker of another make says nothing; while requests wait each
 *   of the consumers that the passive declare counts has one in hand.
 * - **Arrivals** are the uploads begun plus the change of those waiting.
 * @module
 */

/** What was measured, and for the law to decide about. */
export interface Measurements {
  /** Seconds, since any moment. */
  time: number;
  /** Requests that no worker has taken. */
  waiting: number;
  /** Uploads in hand. */
  busy: number;
  /** Consumers of the upload queue. */
  workers: number;
  /** Requests per second, in the window and in the short one. */
  arrivalRate: number;
  recentRate: number;
  /** Seconds that an upload takes: mean and 95th percentile; undefined when there was none yet. */
  serviceTime?: number;
  serviceP95?: number;
  /** Seconds from request to the upload's end, of the reports in the window; undefined when there is none. */
  p50?: number;
  p95?: number;
  /** By how much the arrival rate grows, in requests per second each second, and the standard deviation that chance gives it. */
  trend: number;
  trendDeviation: number;
  /** Share of the last hour's reports that were late, though the upload alone was not. */
  lateShare: number;
  /** Seconds since a request was seen to wait; Infinity when none was. */
  sinceWaiting: number;
  /** Seconds that workers took to come the last time that more were asked for; undefined when that is not known. */
  startTime?: number;
  /** Reports in the window. */
  finished: number;
  /** Seconds since the last report, since the first look when there was none. */
  silence: number;
  /** Seconds since the first look. */
  watched: number;
}

/** What measures one app. */
export interface Meter {
  /** A worker has taken a request. */
  started(id: string, worker: string, time: number): void;
  /** A worker has reported; false when it has done so before. `past` when the report had waited for us: it tells of no present load. */
  reported(report: ReportedTimes, time: number, past?: boolean): boolean;
  /** What a passive declare says: messages ready, and consumers. */
  observed(waiting: number, workers: number, time: number): void;
  /** So many workers are asked for. */
  asked(workers: number, time: number): void;
  /** What is known now. */
  measure(time: number): Measurements;
}

/** What a report tells. */
export interface ReportedTimes {
  id: string;
  responseTime: number;
  uploadTime?: number;
}

/** How far back a meter looks, and above which response time a report is late, in seconds. */
export interface Windows {
  window: number;
  shortWindow: number;
  objective: number;
}

/** Seconds that misses of the objective are remembered. */
export const HOUR = 3600;
/** Windows that a trend is measured in. */
const TREND_WINDOWS = 3;
/** Uploads that the service time is the mean of, when the window has fewer. */
const FEWEST = 20;
/** Reports that are remembered: ids to know a repeated one, and times. */
const MOST = 10_000;

/** Returns a meter without measurements. */
export function createMeter({ window, shortWindow, objective }: Windows): Meter {
  /** Uploads in hand, oldest first. */
  const inHand = new Map<string, { worker: string; since: number }>();
  const reportedIds = new Set<string>();
  const reports: { time: number; responseTime: number }[] = [];
  const uploads: { time: number; seconds: number }[] = [];
  /** The arrivals that were counted until each look. */
  const looks: { time: number; arrived: number }[] = [];
  let begun = 0;
  let waiting = 0;
  let workers = 0;
  let first: number | undefined;
  let startTime: number | undefined;
  /** Numbers of workers that are waited for, rising, and since when. */
  let expected: { workers: number; since: number }[] = [];
  /** Reports of each minute of the last hour. */
  const minutes: { time: number; late: number; all: number }[] = [];
  let lastReport: number | undefined;
  let lastWaiting = -Infinity;

  /** Arrivals per second of the last `seconds`, of what was watched when that is less. */
  function rate(seconds: number, time: number): number {
    const last = looks.at(-1);
    if (!last) return 0;
    const since = looks.findLast((look) => look.time <= time - seconds) ?? looks[0]!;
    const span = last.time - since.time;
    return span > 0 ? Math.max(0, (last.arrived - since.arrived) / Math.max(span, seconds / 2)) : 0;
  }
  /** From one half of the last windows to the other. Both counts are Poisson's, so that their difference has their sum as its variance. */
  function trend(time: number): { trend: number; trendDeviation: number } {
    const half = TREND_WINDOWS * window / 2;
    const [first, last] = [looks[0], looks.at(-1)];
    if (!first || !last || first.time > time - 1.9 * half) return { trend: 0, trendDeviation: 0 };
    const middle = looks.findLast((look) => look.time <= time - half) ?? first;
    const change = last.arrived - middle.arrived - (middle.arrived - first.arrived);
    const deviation = Math.sqrt(Math.max(1, last.arrived - first.arrived));
    return { trend: change / half ** 2, trendDeviation: deviation / half ** 2 };
  }
  function countReport(isLate: boolean, time: number) {
    if (!minutes.at(-1) || minutes.at(-1)!.time <= time - 60) {
      minutes.push({ time, late: 0, all: 0 });
    }
    const minute = minutes.at(-1)!;
    minute.all++;
    if (isLate) minute.late++;
  }
  function lateShare(): number {
    const all = minutes.reduce((sum, minute) => sum + minute.all, 0);
    return all === 0 ? 0 : minutes.reduce((sum, minute) => sum + minute.late, 0) / all;
  }
  function forget(time: number) {
    const oldest = time - TREND_WINDOWS * window;
    while (looks.length > 2 && looks[1]!.time <= oldest) looks.shift();
    while (minutes[0] && minutes[0].time <= time - HOUR) minutes.shift();
    while (reports.length > MOST || reports[0] && reports[0].time < time - window) reports.shift();
    const old = (index: number) => (uploads[index]?.time ?? time) < time - window;
    while (uploads.length > MOST || uploads.length > FEWEST && old(0)) uploads.shift();
    const [id] = reportedIds;
    if (reportedIds.size > MOST) reportedIds.delete(id!);
    // Given up and dead-lettered: nobody will report it.
    for (const [id, { since }] of inHand) {
      const isOld = since < time - window && since < time - 5 * (uploadP95() ?? window);
      if (!isOld && inHand.size <= MOST) break;
      inHand.delete(id);
    }
  }
  const uploadP95 = () => percentile(uploads.map(({ seconds }) => seconds), 0.95);

  return {
    started(id, worker, time) {
      if (reportedIds.has(id)) return;
      for (const [other, upload] of inHand) {
        if (upload.worker === worker && other !== id) inHand.delete(other); // it has given that one up
      }
      if (!inHand.delete(id)) begun++;
      inHand.set(id, { worker, since: time });
    },
    reported({ id, responseTime, uploadTime }, time, past = false) {
      if (reportedIds.has(id)) return false;
      reportedIds.add(id);
      const seconds = uploadTime ?? (waiting === 0 ? responseTime : undefined);
      if (seconds !== undefined) uploads.push({ time, seconds });
      const known = inHand.delete(id);
      if (past) return true;
      if (!known) begun++;
      lastReport = time;
      reports.push({ time, responseTime });
      const hasWaited = time - lastWaiting < 2 * window; // else the publisher's clock is behind
      countReport(hasWaited && responseTime > objective && (uploadTime ?? 0) <= objective, time);
      return true;
    },
    observed(ready, consumers, time) {
      first ??= time;
      waiting = ready;
      workers = consumers;
      if (ready > 0) lastWaiting = time;
      looks.push({ time, arrived: begun + ready });
      while (expected[0] && consumers >= expected[0].workers) {
        startTime = time - expected.shift()!.since;
      }
    },
    asked(wanted, time) {
      const since = expected.find((each) => each.workers >= wanted)?.since ?? time;
      expected = expected.filter((each) => each.workers < wanted);
      if (wanted > workers) expected.push({ workers: wanted, since });
    },
    measure(time) {
      forget(time);
      const finished = reports.length;
      const seconds = uploads.map(({ seconds }) => seconds);
      const times = reports.map(({ responseTime }) => responseTime);
      const mean = seconds.length > 0
        ? seconds.reduce((sum, each) => sum + each, 0) / seconds.length
        : waiting > 0 && finished > 0
        ? workers * window / finished
        : undefined;
      return {
        time,
        waiting,
        busy: Math.max(inHand.size, waiting > 0 ? workers : 0),
        workers,
        arrivalRate: rate(window, time),
        recentRate: rate(shortWindow, time),
        serviceTime: mean,
        serviceP95: percentile(seconds, 0.95) ?? mean,
        p50: percentile(times, 0.5),
        p95: percentile(times, 0.95),
        ...trend(time),
        lateShare: lateShare(),
        sinceWaiting: time - lastWaiting,
        startTime,
        finished,
        silence: time - (lastReport ?? first ?? time),
        watched: time - (first ?? time),
      };
    },
  };
}

/** The value below which a share of the samples lies (nearest rank). */
function percentile(samples: number[], share: number): number | undefined {
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
