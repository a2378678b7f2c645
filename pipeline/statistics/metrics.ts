/**
 * The numbers for Prometheus, besides those that every tool has.
 * @module
 */
import { gauge, histogram, reading } from "@event-sink/lib";
import type { Measured, Statistics } from "./store.ts";

/** Upper bounds of the histograms' buckets, in seconds: tasks may wait for hours and be done in no time. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600];

/**
 * Serves the numbers. Counters and gauges are read when they are scraped; histograms count from the start of the process, as Prometheus
 * expects of them.
 *
 * @returns takes a duration into its histogram
 */
export function serveMetrics(read: () => Statistics): (measured: Measured) => void {
  function counter(name: string, help: string, value: (statistics: Statistics) => number) {
    reading({ kind: "counter", name, help, labels: {}, read: () => value(read()) });
  }
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
  const histograms = {
    waited: histogram("pipeline_task_wait_seconds", "From created to started", buckets),
    worked: histogram(
      "pipeline_task_work_seconds",
      "The attempts that finished a task",
      buckets,
    ),
  };
  return ({ what, seconds }) => histograms[what](seconds);
}
