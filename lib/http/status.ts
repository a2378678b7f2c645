/**
 * What an operator asks a tool by HTTP: is it alive, is it ready, what has it counted.
 * @module
 */
import type { Hono } from "hono";
import { health } from "../health.ts";
import { gauge } from "../metrics.ts";
import { printable } from "../text.ts";
import { withoutPassword } from "../url.ts";

/** Longest reason, in characters. */
const LONGEST = 1000;

/** Milliseconds between two looks at the event loop, and for which the longest lag is told at least. */
const LOOK = 250;
const WINDOW = 30_000;

let ready = false;
let measuring = false;

/**
 * Adds `GET /healthz` (200 while the process turns and no message is in hand for too long; else it has to be started anew), `GET /readyz` (200 while
 * it does its work; else 503 with the reasons) and `GET /metrics` (Prometheus' text format).
 */
export function addStatus(app: Hono): void {
  measure();
  app.get("/healthz", async (context) => {
    const { stuck } = await health();
    if (stuck.length === 0) return context.json({ status: "alive" });
    return context.json({ status: "stuck", reasons: shownReasons(stuck) }, 503);
  });
  app.get("/readyz", async (context) => {
    const reasons = await look();
    if (reasons.length === 0) return context.json({ status: "ready" });
    return context.json({ status: "not ready", reasons: shownReasons(reasons) }, 503);
  });
  app.get("/metrics", async (context) => {
    // So that what is told of the servers is true now.
    const [{ metricsText, contentType }] = await Promise.all([import("./exposition.ts"), look()]);
    return context.body(await metricsText(), 200, { "content-type": contentType });
  });
}

async function look(): Promise<string[]> {
  const { waiting, stuck } = await health();
  const reasons = [...waiting, ...stuck];
  ready = reasons.length === 0;
  return reasons;
}

function shownReasons(reasons: string[]): string[] {
  return reasons.map((reason) => printable(withoutPassword(reason), LONGEST));
}

function measure(): void {
  if (measuring) return;
  measuring = true;
  gauge("event_sink_ready", "1 while the tool does its work", () => ready ? 1 : 0);
  let lag = 0;
  let before = 0;
  let last = performance.now();
  let turn = last;
  Deno.unrefTimer(setInterval(() => {
    const now = performance.now();
    lag = Math.max(lag, now - last - LOOK);
    last = now;
    if (now - turn < WINDOW) return;
    before = lag;
    lag = 0;
    turn = now;
  }, LOOK));
  gauge(
    "event_sink_event_loop_lag_seconds",
    "The longest time in the last half minute to minute that the event loop did not turn",
    () => Math.max(lag, before) / 1000,
  );
}
