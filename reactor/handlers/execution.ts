/**
 * What every driver gets and gives back.
 * @module
 */
import type { Traced } from "@event-sink/lib";
import type { Entry } from "./entry.ts";

/** Bytes of output, or characters of a returned value, that are kept. */
export const OUTPUT_LIMIT = 65_536;

/** A handler to call for an event. */
export interface Execution {
  entry: Entry;
  /** The event as JSON. */
  event: string;
  /** The trace that what the handler does belongs to. */
  trace?: Traced;
}

/** What came of an execution. */
export interface Outcome {
  status: "done" | "failed";
  /** The exit code; 0 or 1 for a function. */
  code?: number;
  /** stdout, or what the function returned. */
  data?: unknown;
  /** stderr, or what the function wrote to the console. */
  log?: string;
  /** Why it failed. */
  error?: string;
  /** Whether another attempt would fail in the same way. */
  permanent?: boolean;
}

/** How the caller of a batch learns what came of it, and stops it. */
export interface BatchReport {
  /** Kills the handler: the execution that it interrupts has no outcome. */
  signal: AbortSignal;
  /** Called with the outcome of the execution at `index`, in order. */
  ended: (index: number, outcome: Outcome) => void;
  /** Called with the index from which on the executions have not begun and will not begin in this batch. */
  left: (from: number) => void;
}

/** A handler that cannot be run, now or later: missing, misspelt, outside its directory. */
export class BadHandler extends Error {
  override name = "BadHandler";
}
