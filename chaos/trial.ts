/**
 * What a trial says while it runs.
 * @module
 */
import type { Flags, Tool } from "@event-sink/lib";

/** The voice of a trial. */
export interface Trial {
  /** Prints a line with the seconds since the start. */
  say(text: string): Promise<void>;
  /** Notes and prints what must not be. */
  violated(what: string): void;
  /** What must not be, and was. */
  readonly violations: string[];
}

/** Starts to count the time. */
export function startTrial({ print, signal }: Pick<Tool<Flags>, "print" | "signal">): Trial {
  const started = performance.now();
  const violations: string[] = [];
  function say(text: string) {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    return print(`${seconds.padStart(7)} s  ${text}`);
  }
  return {
    say,
    violated(what) {
      if (signal.aborted) return; // Ctrl-C at a terminal ends the processes too
      violations.push(what);
      say(`VIOLATED: ${what}`).catch(() => {}); // a closed stdout ends it all
    },
    violations,
  };
}
