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
  const atFirst = "not connected yet";
  let trouble: string | undefined = atFirst;
  const hear = (say: (text: string) => void, back: RegExp) => (text: string) => {
    if (/^(Lost the connection|Cannot connect)|has blocked publishers/.test(text)) trouble = text;
    else if (back.test(text)) trouble = undefined;
    say(text);
  };
  const isBack = /^Connected to|takes messages again$/;
  return {
    state: {
      get trouble() {
        return trouble;
      },
    },
    log: {
      ...log,
      // One of two connections that is back while the other is not.
      debug: (text) => hear(log.debug, trouble === atFirst ? isBack : /^$/)(text),
      info: hear(log.info, isBack),
      warn: hear(log.warn, isBack),
    },
  };
}
