/**
 * A bell that wakes the worker's loop when there is something to do.
 * @module
 */
import { within } from "@event-sink/lib";

/** A bell. A ring that comes after `quiet` and before `wait` is not lost. */
export interface Bell {
  ring(): void;
  /** Makes `rung` and `wait` wait for the next ring. */
  quiet(): void;
  /** Resolves with the first ring after the last `quiet`. */
  rung(): Promise<void>;
  /** Waits for that ring, `ms` milliseconds at most; not at all once the signal has aborted. */
  wait(ms: number): Promise<void>;
  /** Resolves when the signal aborts. */
  readonly stopped: Promise<undefined>;
}

/** Creates a bell, which also rings when the signal aborts. */
export function createBell(signal: AbortSignal): Bell {
  let ring = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<undefined>();
  signal.addEventListener("abort", () => {
    ring.resolve();
    stopped.resolve(undefined);
  });
  return {
    stopped: stopped.promise,
    ring: () => ring.resolve(),
    quiet() {
      ring = Promise.withResolvers<void>();
    },
    rung: () => ring.promise,
    async wait(ms) {
      if (!signal.aborted) await within(ms, ring.promise);
    },
  };
}
