/**
 * The pools: as many workers of each app as were asked for last.
 * @module
 */
import { backoff, counted, type Log, pause, printable } from "@event-sink/lib";
import type { ScaleRequest } from "../message.ts";

/** A worker that a driver has started, or has found. */
export interface Worker {
  name: string;
  /** Undefined when the driver cannot tell. */
  busy?: boolean;
}

/** What starts and stops workers. Dispose it when the scaler ends. */
export interface Driver extends AsyncDisposable {
  /** The workers of an app that take requests, or will soon. */
  list(appId: string): Promise<Worker[]>;
  /** Starts workers. */
  start(appId: string, count: number): Promise<void>;
  /** Asks workers to stop: they finish what they have in hand. */
  stop(appId: string, workers: Worker[]): Promise<void>;
}

/** Milliseconds between two looks whether all of them live. */
const INTERVAL = 1000;
/** Milliseconds of life after which a worker's end does not count as a failed start. */
const HEALTHY = 10_000;

/** What keeps the pools. Dispose it to end it, and the driver. */
export interface Pools extends AsyncDisposable {
  /** Asks for a number of workers; one that was published (seconds) before the last one has been overtaken and is ignored. */
  want(request: ScaleRequest, published?: number): void;
}

/** Keeps pools, none at first, until `signal` aborts. */
export function createPools(
  driver: Driver,
  { most, signal, log, print }: {
    most: number;
    signal: AbortSignal;
    log: Log;
    print: (line: string) => Promise<void>;
  },
): Pools {
  const wanted = new Map<
    string,
    { workers: number; asked: number; reason: string; published: number }
  >();
  /** When workers were started last, and how many there were then. */
  const started = new Map<string, { time: number; workers: number }>();
  let news = Promise.withResolvers<void>();

  /**
   * Starts and stops what is missing or too much; what is there is what the driver finds, whoever started it. Returns whether all that were started
   * live.
   */
  async function adjust(appId: string): Promise<boolean> {
    const { workers, reason } = wanted.get(appId)!;
    const there = await driver.list(appId);
    const missing = workers - there.length;
    const last = started.get(appId);
    const isYoung = last !== undefined && Date.now() - last.time < HEALTHY;
    if (missing === 0 || signal.aborted) return !isYoung;
    if (isYoung && there.length < Math.min(last.workers, workers)) {
      started.delete(appId);
      const gone = Math.min(last.workers, workers) - there.length;
      throw new Error(`${counted(gone, "worker")} of ${appId} ended soon after the start`);
    }
    await print(
      ` [x] ${appId}: ${there.length} to ${workers} workers${
        reason === "" ? "" : `: ${printable(reason, 300)}`
      }`,
    );
    if (missing > 0) {
      await driver.start(appId, missing);
      started.set(appId, { time: Date.now(), workers });
      return false;
    }
    const idleFirst = there.toSorted((a, b) => Number(a.busy ?? false) - Number(b.busy ?? false));
    await driver.stop(appId, idleFirst.slice(0, -missing));
    return !isYoung;
  }
  async function keep() {
    const failures = new Map<string, { count: number; until: number }>();
    while (!signal.aborted) {
      const next = news.promise;
      for (const appId of wanted.keys()) {
        const failed = failures.get(appId);
        if (failed && Date.now() < failed.until) continue;
        try {
          if (await adjust(appId)) failures.delete(appId);
        } catch (error) {
          if (signal.aborted) return;
          const count = (failed?.count ?? 0) + 1;
          const wait = backoff(count, { first: 1000, longest: 60_000 });
          failures.set(appId, { count, until: Date.now() + wait });
          log.warn(`${(error as Error).message}. Trying again in ${Math.ceil(wait / 1000)} s`);
        }
      }
      await Promise.race([next, pause(INTERVAL, signal).catch(() => {})]);
    }
  }
  const keeping = keep();
  return {
    want({ app_id, workers, reason }, published = Infinity) {
      const { asked, published: last = 0 } = wanted.get(app_id) ?? {};
      if (published < last) return;
      if (workers > most && asked !== workers) {
        log.warn(`${app_id} asks for ${workers} workers; --most allows ${most}`);
      }
      wanted.set(app_id, {
        workers: Math.min(workers, most),
        asked: workers,
        reason,
        published: published === Infinity ? last : published,
      });
      news.resolve();
      news = Promise.withResolvers();
    },
    async [Symbol.asyncDispose]() {
      await keeping;
      await driver[Symbol.asyncDispose]();
    },
  };
}
