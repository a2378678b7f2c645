/**
 * The pipeline's numbers for a terminal.
 * @module
 */
import type { Durations, Statistics } from "./statistics/store.ts";

/** Several lines. */
export function account(statistics: Statistics): string {
  const { objects, tasks, createdToStarted, startedToFinished } = statistics;
  const rows: [string, number, string][] = [
    ["generated", objects, "objects"],
    ["distributed", tasks.created, `tasks, ${tasks.created - tasks.started} of them waiting`],
    ["in progress", tasks.inProgress, ""],
    ["processed", tasks.finished, durations("worked", startedToFinished)],
    ["failed", tasks.failed, ""],
  ];
  return [
    ...rows.map(([name, count, more]) =>
      `  ${name.padEnd(11)} ${String(count).padStart(7)}  ${more}`.trimEnd()
    ),
    `  ${durations("waited", createdToStarted)}`,
  ].join("\n");
}

/** The same in one line. */
export function oneLine({ objects, tasks, startedToFinished }: Statistics): string {
  return `generated ${objects}, distributed ${tasks.created}, in progress ${tasks.inProgress}, ` +
    `processed ${tasks.finished}, failed ${tasks.failed}, ${
      durations("worked", startedToFinished)
    }`;
}

function durations(what: string, { p50, p95, max }: Durations): string {
  return `${what} p50 ${p50.toFixed(2)} s, p95 ${p95.toFixed(2)} s, max ${max.toFixed(2)} s`;
}
