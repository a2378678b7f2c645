/**
 * Whether MongoDB is away, as far as the worker's requests have shown.
 * @module
 */
import type { Log } from "@event-sink/lib";

/** What the worker knows of MongoDB. Everything that asks MongoDB for something tells it how that went. */
export interface Outage {
  readonly isAway: boolean;
  /** A request has failed: the first one of an outage is worth a warning. */
  failed(error: unknown): void;
  /** A request has succeeded. */
  succeeded(): void;
}

/** Creates it; what fails once the signal has aborted is no news for the log. */
export function createOutage(log: Log, signal: AbortSignal): Outage {
  let away = false;
  return {
    get isAway() {
      return away;
    },
    failed(error) {
      const text = `Cannot use MongoDB: ${(error as Error).message}`;
      if (away || signal.aborted) log.debug(text);
      else log.warn(`${text}. Waiting until it can be used`);
      away = true;
    },
    succeeded() {
      if (away) log.info("MongoDB is back");
      away = false;
    },
  };
}
