/**
 * What a worker and its threads say to each other.
 * @module
 */

/** A function to call, once for each event. */
export interface Call {
  name: string;
  /** As JSON. */
  events: string[];
  /** How many of them have begun, and whether it is {@linkcode CLOSED}. Shared, as a thread that is busy hears nothing. */
  begun: Int32Array;
  /** Characters of output that are kept. */
  limit: number;
}

/** Set in {@linkcode Call.begun} when no more events may begin. */
export const CLOSED = 1 << 30;

/** What the thread says after each event. */
export type Answer =
  | { status: "done" | "failed"; code: number; data?: unknown; log: string; error?: string }
  | { bad: string };
