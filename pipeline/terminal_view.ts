/**
 * The pipeline's numbers at a terminal.
 * @module
 */
import type { Durations, Statistics } from "./statistics/store.ts";

/** What shows the numbers. */
export interface Screen {
  /** Shows the numbers: at a terminal in place of the last ones, elsewhere as a line when they have changed. */
  show(statistics: Statistics): Promise<void>;
  /** Shows what a service says, above the numbers. */
  note(line: string): void;
}

/** Returns a screen that writes with `print`. */
export function createScreen(print: (text: string) => Promise<void>): Screen {
  const terminal = Deno.stdout.isTerminal();
  let drawn = 0;
  let before = "";
  let notes: string[] = [];
  return {
    async show(statistics) {
      const text = terminal ? table(statistics) : oneLine(statistics);
      if (!terminal && text === before) return;
      before = text;
      const erase = drawn > 0 ? `\x1b[${drawn}F\x1b[0J` : "";
      const lines = [...notes, text].join("\n");
      notes = [];
      drawn = terminal ? text.split("\n").length : 0;
      await print(erase + lines);
    },
    note(line) {
      if (drawn > 0) notes.push(line);
      else print(line);
    },
  };
}

function table(statistics: Statistics): string {
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

function oneLine({ objects, tasks, startedToFinished }: Statistics): string {
  return `generated ${objects}, distributed ${tasks.created}, in progress ${tasks.inProgress}, ` +
    `processed ${tasks.finished}, failed ${tasks.failed}, ${
      durations("worked", startedToFinished)
    }`;
}

function durations(what: string, { p50, p95, max }: Durations): string {
  return `${what} p50 ${p50.toFixed(2)} s, p95 ${p95.toFixed(2)} s, max ${max.toFixed(2)} s`;
}
