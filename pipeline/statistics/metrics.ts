/**
 * Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
 * @module
 */
import type { Durations, Statistics } from "./store.ts";

/** The numbers in that format. */
export function prometheus(
  { objects, tasks, createdToStarted, startedToFinished }: Statistics,
): string {
  return [
    ...metric("pipeline_objects_total", "counter", "Objects made", [["", objects]]),
    ...metric("pipeline_tasks_created_total", "counter", "Tasks made of objects", [[
      "",
      tasks.created,
    ]]),
    ...metric("pipeline_tasks_started_total", "counter", "Tasks that a processor has started", [[
      "",
      tasks.started,
    ]]),
    ...metric("pipeline_tasks_finished_total", "counter", "Tasks done", [["", tasks.finished]]),
    ...metric("pipeline_tasks_failed", "gauge", "Tasks given up, and not done since", [[
      "",
      tasks.failed,
    ]]),
    ...metric(
      "pipeline_tasks_in_progress",
      "gauge",
      "Tasks started, and neither done nor given up",
      [["", tasks.inProgress]],
    ),
    ...metric(
      "pipeline_task_wait_seconds",
      "gauge",
      "From created to started",
      byShare(createdToStarted),
    ),
    ...metric(
      "pipeline_task_work_seconds",
      "gauge",
      "From started to finished",
      byShare(startedToFinished),
    ),
  ].join("\n") + "\n";
}

function metric(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: [string, number][],
): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...values.map(([labels, value]) => `${name}${labels} ${value}`),
  ];
}

function byShare(durations: Durations): [string, number][] {
  return Object.entries(durations).map(([share, seconds]) => [`{share="${share}"}`, seconds]);
}
