/**
 * What a worker and its threads say to each other.
 * @module
 */
import type { Outcome } from "./execution.ts";

/** Asks a thread to call a function once for each event. */
export interface Call {
  /** The function's name. */
  name: string;
  /** Each as JSON. */
  events: string[];
  /**
   * How many of the events have begun, and whether the call is {@linkcode CLOSED}; the first of a new thread counts as begun already. The memory is
   * shared, as a message would not reach a thread that is busy.
   */
  begun: Int32Array;
  /** Characters of output that are kept. */
  limit: number;
}

/** The bit in {@linkcode Call.begun} that says that no more events may begin. */
export const CLOSED = 1 << 30;

/** What the thread answers after each event: `bad` says why the handler cannot be used. */
export type Answer = Outcome | { bad: string };
