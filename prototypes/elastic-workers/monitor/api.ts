/**
 * The monitor's HTTP interface: JSON, a live page.
 * @module
 */
import { type Log, within } from "@event-sink/lib";
import { createApp, type HttpConfiguration } from "@event-sink/lib/http";
import { servePage } from "@event-sink/lib/page";
import type { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { Apps } from "./apps.ts";
import style from "./page/page.css" with { type: "text" };
import html from "./page/page.html" with { type: "text" };
import script from "./page/page.js" with { type: "text" };

/** Milliseconds that a page waits before it connects again. */
const RETRY = 1000;
/** Milliseconds without a sample after which it is told why. */
const QUIET = 3000;
/** Why no decision can be made. */
export const NO_BROKER = "the queues cannot be looked at: no connection to the broker";

/** What the interface needs. */
export interface MonitorApi {
  apps: Apps;
  /** Whether the queues were looked at just now. */
  isReady: () => boolean;
  /** Ends the live streams. */
  signal: AbortSignal;
  /** Address, and the names that requests may use. */
  http: HttpConfiguration;
  /** Is told of errors that are not the client's. */
  log: Log;
}

/** Returns the application. */
export function monitorApi({ apps, isReady, signal, http, log }: MonitorApi): Hono {
  const app = createApp(http, log);
  servePage(app, { html, style, script });
  const state = (appId: string) => stateOf(apps, appId);

  app.get("/api/apps", (context) => context.json(apps.ids().map(state)));
  app.get("/api/apps/:app_id", (context) => {
    const appId = context.req.param("app_id");
    const found = state(appId);
    if (found) return context.json(found);
    return context.json({ error: "no such app is watched: none of its workers has reported" }, 404);
  });
  signal.addEventListener("abort", apps.wake, { once: true });
  // Server-sent events: first `history`, an array of samples, then each `sample`; `quiet` while there are none, with the reason.
  app.get("/api/apps/:app_id/live", (context) =>
    streamSSE(context, async (stream) => {
      const appId = context.req.param("app_id")!;
      let last = -Infinity;
      const fresh = () => {
        const samples = (apps.samples(appId) ?? []).filter(({ time }) => time > last);
        last = samples.at(-1)?.time ?? last;
        return samples;
      };
      const tell = (event: string, data: unknown) =>
        stream.writeSSE({ event, data: JSON.stringify(data), retry: RETRY });
      await tell("history", fresh());
      while (!stream.aborted && !signal.aborted) {
        const news = await within(QUIET, apps.news().then(() => true));
        if (!news) await tell("quiet", isReady() ? "" : NO_BROKER);
        for (const sample of fresh()) await tell("sample", sample);
      }
    }));
  return app;
}

/**
 * An app as JSON: numbers at the top, as KEDA's `metrics-api` trigger reads one of them by its name (`valueLocation: workers_wanted`). While there is
 * none it is null, which KEDA takes for a failure, so that nothing changes; a 0 would end all workers (https://keda.sh/docs/latest/scalers/metrics-api/).
 */
export function stateOf(apps: Apps, appId: string) {
  const samples = apps.samples(appId);
  if (!samples) return undefined;
  const last = samples.at(-1);
  return {
    app_id: appId,
    workers_wanted: last?.wanted ?? null,
    workers: last?.workers ?? 0,
    backlog: last ? last.waiting + last.busy : 0,
    waiting: last?.waiting ?? 0,
    busy: last?.busy ?? 0,
    arrival_rate: last?.arrivalRate ?? 0,
    service_time: last?.serviceTime ?? null,
    response_time_p50: last?.p50 ?? null,
    response_time_p95: last?.p95 ?? null,
    objective: apps.policy.objective,
    reason: last?.reason ?? "its upload queue is not there yet",
    time: last?.time ?? null,
  };
}
