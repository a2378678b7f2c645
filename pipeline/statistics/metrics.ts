/**
 * The numbers for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Measured, Statistics } from "./store.ts";

/** What is scraped. */
export interface Metrics {
  /** Takes a duration into its histogram. */
  observe(measured: Measured): void;
  /** The metrics as text. */
  text(): Promise<string>;
  /** Their content type. */
  readonly contentType: string;
}

/** Upper bounds of the histograms' buckets, in seconds: tasks may wait for hours and be done in no time. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600];

/**
 * Returns the metrics. Counters and gauges are read when they are scraped; histograms count from the start of the process, as Prometheus
 * expects of them.
 */
export function createMetrics(read: () => Statistics, isConnected: () => boolean): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, value: (statistics: Statistics) => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(read()));
      },
    });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  const seconds = (name: string, help: string) => new Histogram({ name, help, buckets, registers });

  counter("pipeline_objects_total", "Objects made", ({ objects }) => objects);
  counter("pipeline_tasks_created_total", "Tasks made of objects", ({ tasks }) => tasks.created);
  counter("pipeline_tasks_started_total", "Tasks started", ({ tasks }) => tasks.started);
  counter("pipeline_tasks_finished_total", "Tasks done", ({ tasks }) => tasks.finished);
  gauge("pipeline_tasks_waiting", "Tasks not started yet", () => read().tasks.waiting);
  gauge(
    "pipeline_tasks_failed",
    "Tasks given up, and not done since",
    () => read().tasks.failed,
  );
  gauge(
    "pipeline_tasks_in_progress",
    "Tasks started, and neither done nor given up",
    () => read().tasks.inProgress,
  );
  gauge("pipeline_broker_connected", "1 while the broker is there", () => isConnected() ? 1 : 0);
  const histograms = {
    waited: seconds("pipeline_task_wait_seconds", "From created to started"),
    worked: seconds("pipeline_task_work_seconds", "The attempts that finished a task"),
  };
  return {
    observe: ({ what, seconds }) => histograms[what].observe(seconds),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
