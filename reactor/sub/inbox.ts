/**
 * The messages that have come from the router and are not handled yet.
 * @module
 */
import { within } from "@event-sink/lib";

/** Messages from which on the socket is not read. */
const FULL = 5000;

/** A bounded queue of messages. */
export interface Inbox {
  /** Takes the frames of a message; the promise, if there is one, resolves when there is room for the next. */
  put(frames: Uint8Array[]): Promise<void> | undefined;
  /** Takes out up to `limit` messages, the oldest first. */
  take(limit: number): Uint8Array[][];
  /** Waits `ms` milliseconds at most for a message or for `wake`; says whether there was one. */
  wait(ms: number): Promise<boolean>;
  /** Ends a `wait`. */
  wake(): void;
}

/** Creates an empty inbox. When the signal aborts nobody waits any more. */
export function createInbox(signal: AbortSignal): Inbox {
  const messages: Uint8Array[][] = [];
  let news = Promise.withResolvers<void>();
  let room = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => {
    news.resolve();
    room.resolve();
  });
  return {
    put(frames) {
      messages.push(frames);
      news.resolve();
      if (messages.length < FULL || signal.aborted) return undefined;
      room = Promise.withResolvers();
      return room.promise;
    },
    take(limit) {
      room.resolve();
      return messages.splice(0, limit);
    },
    async wait(ms) {
      const woken = messages.length > 0 || await within(ms, news.promise.then(() => true));
      news = Promise.withResolvers();
      return woken ?? false;
    },
    wake: () => news.resolve(),
  };
}
