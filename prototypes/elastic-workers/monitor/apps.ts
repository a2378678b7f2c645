/**
 * The apps that are watched: for each its meter, the law's memory, and what was measured and decided, for the page.
 * @module
 */
import type { Log } from "@event-sink/lib";
import type { Report, ScaleRequest } from "../message.ts";
import { decide, firstMemory, type Memory, type Policy } from "./control.ts";
import type { Seen } from "./look.ts";
import { createMeter, type Measurements, type Meter } from "./meter.ts";
import { measureApp } from "./metrics.ts";

/** What was measured and decided at one moment. */
export interface Sample extends Measurements {
  /** Seconds since the epoch. */
  time: number;
  wanted: number;
  reason: string;
  /** Whether the number of workers wanted has changed. */
  changed: boolean;
}

/** A scale request, and what it changes. */
export interface Asked extends ScaleRequest {
  changed: boolean;
  before: number;
}

/** Thrown when reports name more apps than one can watch: somebody makes them up. */
export class TooManyApps extends Error {}

interface App {
  meter: Meter;
  memory?: Memory;
  asked: number;
  samples: Sample[];
  created: number;
  /** Whether it is watched whether or not there is anything to see. */
  fixed: boolean;
  /** Its numbers for Prometheus. */
  measured: Disposable;
}

/** Apps that are watched at most. */
const MOST_APPS = 1000;
/** Samples that are kept: half an hour of one a second. */
const KEPT = 1800;
/** Seconds after which a number of workers is asked for again, as the scaler may have been away. */
const REPEAT = 5;

/** Returns apps to watch, none at first. */
export function createApps(policy: Policy & { log: Log }) {
  const apps = new Map<string, App>();
  const now = () => Date.now() / 1000;
  let news = Promise.withResolvers<void>();

  function watch(appId: string, fixed = true): App {
    const known = apps.get(appId);
    if (known) return known;
    if (apps.size >= MOST_APPS) throw new TooManyApps(`there are ${MOST_APPS} other apps already`);
    const meter = createMeter(policy);
    const samples: Sample[] = [];
    const measured = measureApp(appId, () => samples.at(-1));
    const app: App = { meter, asked: -Infinity, samples, created: now(), fixed, measured };
    apps.set(appId, app);
    if (!fixed) policy.log.info(`Watching ${appId}, which has reported`);
    return app;
  }

  return {
    REPEAT,
    policy: policy as Policy,
    ids: () => [...apps.keys()],
    samples: (appId: string): readonly Sample[] | undefined => apps.get(appId)?.samples,
    /** Resolves when there are new samples. */
    news: () => news.promise,
    /** Ends the waiting for them. */
    wake: () => news.resolve(),
    /** Watches an app from now on. */
    watch,
    /** A worker has taken a request. */
    started(appId: string, id: string, worker: string) {
      watch(appId, false).meter.started(id, worker, now());
    },
    /** A worker has reported. */
    reported(report: Report, id: string, past: boolean) {
      const { app_id, response_time: responseTime, upload_time: uploadTime } = report;
      watch(app_id, false).meter.reported({ id, responseTime, uploadTime }, now(), past);
    },
    /** What became of the upload queue is known: decides. Returns what to ask the scaler for, when it is time to. */
    decide(appId: string, { waiting, consumers }: Seen): Asked | undefined {
      const app = apps.get(appId)!;
      const time = now();
      app.meter.observed(waiting, consumers, time);
      const measured = app.meter.measure(time);
      app.memory ??= firstMemory(consumers, policy, time);
      const before = app.memory.workers;
      const { workers, reason, memory } = decide(measured, app.memory, policy);
      app.memory = memory;
      app.meter.asked(workers, time);
      const changed = workers !== before;
      app.samples.push({ ...measured, wanted: workers, reason, changed });
      if (app.samples.length > KEPT) app.samples.shift();
      news.resolve();
      news = Promise.withResolvers();
      // Some of the workers may have lost the broker, too, and not be back yet.
      if (measured.watched < policy.window && workers <= consumers) return undefined;
      if (!changed && time - app.asked < REPEAT) return undefined;
      app.asked = time;
      return { app_id: appId, workers, reason, changed, before };
    },
    /** There is no upload queue: an app that nobody knows is forgotten. */
    lost(appId: string): undefined {
      const app = apps.get(appId)!;
      if (app.fixed || now() - app.created <= policy.window) return;
      app.measured[Symbol.dispose]();
      apps.delete(appId);
    },
  };
}

/** The apps that are watched. */
export type Apps = ReturnType<typeof createApps>;
