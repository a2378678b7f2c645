/**
 * The pipeline's numbers at a terminal, with colours unless NO_COLOR is set; elsewhere plain lines.
 * @module
 */
import type { Durations } from "./statistics/rolling.ts";
import type { Statistics } from "./statistics/store.ts";

/** What shows the numbers. */
export interface Screen {
  /** Shows the numbers: at a terminal in place of the last ones, elsewhere as a line when they have changed. */
  show(statistics: Statistics): Promise<void>;
  /** Shows what a service says, above the numbers. */
  note(line: string): void;
}

/** Where a screen is drawn; what is not given is that of this process. */
export interface ScreenOptions {
  /** Writes a line, or several. */
  print: (text: string) => Promise<void>;
  /** Whether it can be drawn over. */
  terminal?: boolean;
  /** Whether it has colours. */
  colours?: boolean;
  /** Columns that there are. */
  columns?: () => number;
}

/** Returns a screen. */
export function createScreen({
  print,
  terminal = Deno.stdout.isTerminal(),
  colours = !Deno.noColor,
  columns = () => Deno.consoleSize().columns,
}: ScreenOptions): Screen {
  let drawn = 0;
  let before = "";
  let notes: string[] = [];
  return {
    async show(statistics) {
      const text = terminal ? table(statistics, columns(), colours) : oneLine(statistics);
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

/** ANSI's colours (ECMA-48, SGR). */
const codes = { green: 32, blue: 34, yellow: 33, red: 31 };
type Colour = keyof typeof codes;
type Paint = (text: string, colour: Colour) => string;

/** Columns before the bars. */
const MARGIN = 24;
const LONGEST_BAR = 60;

/** Lines no longer than there are columns: a longer one would wrap, and could not be drawn over. */
function table(statistics: Statistics, columns: number, colours: boolean): string {
  const { objects, tasks, createdToStarted, startedToFinished, lastMinutes } = statistics;
  const paint: Paint = (text, colour) => colours ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
  const room = Math.max(0, Math.min(LONGEST_BAR, columns - MARGIN - 1));
  const bar = (count: number) => {
    const cells = tasks.created === 0 ? 0 : room * count / tasks.created;
    return "█".repeat(Math.max(1, Math.round(cells)));
  };
  const row = (name: string, count: number, colour?: Colour) => {
    const text = `  ${name.padEnd(11)} ${String(count).padStart(7)}`;
    return colour && count > 0 ? `${text}   ${paint(bar(count), colour)}` : text;
  };
  const cut = (text: string) => text.slice(0, columns - 1);
  const last = lastMinutes[5];
  return [
    cut(row("objects", objects)),
    cut(row("tasks", tasks.created)),
    row("waiting", tasks.waiting, "yellow"),
    row("in progress", tasks.inProgress, "blue"),
    row("finished", tasks.finished, "green"),
    row("failed", tasks.failed, "red"),
    cut(`  waited  ${durations(last.createdToStarted ?? createdToStarted)}`),
    cut(`  worked  ${durations(last.startedToFinished ?? startedToFinished)}`),
  ].map((line) => line.trimEnd()).join("\n");
}

function oneLine({ objects, tasks, startedToFinished }: Statistics): string {
  return `generated ${objects}, distributed ${tasks.created}, waiting ${tasks.waiting}, ` +
    `in progress ${tasks.inProgress}, processed ${tasks.finished}, failed ${tasks.failed}, ` +
    `worked ${durations(startedToFinished)}`;
}

function durations({ p50, p95, max }: Durations): string {
  return `p50 ${p50.toFixed(2)} s, p95 ${p95.toFixed(2)} s, max ${max.toFixed(2)} s`;
}
