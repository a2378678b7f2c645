/**
 * One line at the terminal that says how far the work is.
 * @module
 */

/** A line that is drawn over itself, on stderr. */
export interface ProgressLine {
  /** Shows a bar for a share from 0 to 1, and a text; not more often than ten times a second. */
  show(share: number, text: string): void;
  /** Takes the line away. */
  end(): void;
}

/** Milliseconds between two drawings. */
const INTERVAL = 100;
/** Cells of the bar. */
const BAR = 20;

/** Starts a progress line; undefined when stderr is no terminal. */
export function startProgress(): ProgressLine | undefined {
  if (!Deno.stderr.isTerminal()) return undefined;
  const write = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  let last = -Infinity;
  return {
    show(share, text) {
      if (performance.now() - last < INTERVAL) return;
      last = performance.now();
      const done = Math.round(BAR * Math.max(0, Math.min(1, share)));
      const bar = "█".repeat(done) + "░".repeat(BAR - done);
      const line = ` ${bar} ${String(Math.floor(share * 100)).padStart(3)}% | ${text}`;
      // A line that wraps could not be drawn over.
      write(`\r${line.slice(0, Deno.consoleSize().columns - 1)}\x1b[K`);
    },
    end: () => write("\r\x1b[K"),
  };
}

/** Seconds for people: `8 s`, `3 min`, `2 h`. */
export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
