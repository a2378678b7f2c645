/**
 * The HTTP interface of the statistics: JSON, a live page.
 * @module
 */
import type { Log } from "@event-sink/lib";
import type { Hono } from "hono";
import { createApp, createLive, type HttpConfiguration } from "@event-sink/lib/http";
import { servePage } from "@event-sink/lib/page";
import style from "./page/page.css" with { type: "text" };
import html from "./page/page.html" with { type: "text" };
import script from "./page/page.js" with { type: "text" };
import type { Details, Statistics, StatisticsStore } from "./store.ts";

/** The numbers at one moment. */
export interface Sample extends Statistics {
  /** Seconds since the epoch. */
  time: number;
}

/** Milliseconds between two samples. */
const INTERVAL = 1000;
/** Samples that are kept for whoever opens the page: half an hour. */
const KEPT = 1800;

/** What the page's tables show. */
export interface LiveDetails extends Details {
  /** Why the broker cannot be used now, or `connected`. */
  broker: string;
}

/** What the interface needs. */
export interface StatisticsApi {
  /** Keeps the numbers. */
  store: Pick<StatisticsStore, "details">;
  /** Reads the numbers. */
  read: () => Statistics;
  /** Why the broker cannot be used now, undefined while it can. */
  brokerTrouble: () => string | undefined;
  /** Ends the sampling and the live streams. */
  signal: AbortSignal;
  /** Address, and the names that requests may use. */
  http: HttpConfiguration;
  /** Is told of errors that are not the client's. */
  log: Log;
}

/** Returns the application. */
export function statisticsApi(
  { store, read, brokerTrouble, signal, http, log }: StatisticsApi,
): Hono {
  const app = createApp(http, log);
  servePage(app, { html, style, script });
  const readDetails = cachedByCost((): LiveDetails => ({
    ...store.details(),
    broker: brokerTrouble() ?? "connected",
  }));
  const live = createLive(signal);
  const samples: Sample[] = [];
  let before = "";
  function sample() {
    const taken = { time: Date.now() / 1000, ...read() };
    if (samples.push(taken) > KEPT) samples.shift();
    if (!live.watched()) return;
    live.tell("sample", taken);
    const details = readDetails();
    if (JSON.stringify(details) !== before) live.tell("details", details);
    before = JSON.stringify(details);
  }
  sample();
  const timer = setInterval(sample, INTERVAL);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });

  app.get("/api/statistics", (context) => context.json({ ...read(), ...readDetails() }));
  // Server-sent events: first `history`, an array of samples, then a `sample` a second, and `details` when they have changed.
  app.get(
    "/api/statistics/live",
    () => live.answer(["history", samples], ["details", readDetails()]),
  );
  return app;
}

/**
 * Keeps a result for five times as long as it took to read, so that reading takes a sixth of the process's time at most, however many tasks
 * there are (a million take half a second).
 */
export function cachedByCost<T>(read: () => T): () => T {
  let last: T;
  let validUntil = 0;
  return () => {
    const started = performance.now();
    if (started < validUntil) return last;
    last = read();
    validUntil = performance.now() + 5 * (performance.now() - started);
    return last;
  };
}
