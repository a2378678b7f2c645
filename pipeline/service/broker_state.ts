/**
 * Whether the broker is there, for those who ask a service how it is.
 * @module
 */
import type { Log } from "@event-sink/lib";

/** What is known of the broker. */
export interface BrokerState {
  /** Why it cannot be used now; undefined while it can. */
  readonly trouble: string | undefined;
}

/** Returns the state of a broker, and the log to connect with, whose lines tell it. */
export function watchBroker(log: Log): { state: BrokerState; log: Log } {
  let trouble: string | undefined = "not connected yet";
  const hear = (say: (text: string) => void) => (text: string) => {
    if (/^(Lost the connection|Cannot connect)|has blocked publishers/.test(text)) trouble = text;
    else if (/^Connected to|takes messages again$/.test(text)) trouble = undefined;
    say(text);
  };
  return {
    state: {
      get trouble() {
        return trouble;
      },
    },
    log: { ...log, debug: hear(log.debug), info: hear(log.info), warn: hear(log.warn) },
  };
}
