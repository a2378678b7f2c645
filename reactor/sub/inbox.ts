/**
 * The messages that have come from the router and are not handled yet.
 * @module
 */
import { within } from "@event-sink/lib";

/** Messages, and bytes of them, from which on the socket is not read. */
const FULL = 5000;
const FULL_BYTES = 32_000_000;

/** Bytes of messages from which on no more are taken out together. */
const TAKEN_BYTES = 8_000_000;

/** A bounded queue of messages. */
export interface Inbox {
  /** Takes the frames of a message; the promise, if there is one, resolves when there is room for the next. */
  put(frames: Uint8Array[]): Promise<void> | undefined;
  /** Takes out messages, the oldest first: up to `limit`, fewer when they are large, one in any case. */
  take(limit: number): Uint8Array[][];
  /** Waits `ms` milliseconds at most for a message or for `wake`; says whether there was one. */
  wait(ms: number): Promise<boolean>;
  /** Ends a `wait`. */
  wake(): void;
}

/** Creates an empty inbox. When the signal aborts nobody waits any more. */
export function createInbox(signal: AbortSignal): Inbox {
  const messages: Uint8Array[][] = [];
  let bytes = 0;
  let news = Promise.withResolvers<void>();
  let room = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => {
    news.resolve();
    room.resolve();
  });
  return {
    put(frames) {
      messages.push(frames);
      bytes += sizeOf(frames);
      news.resolve();
      if ((messages.length < FULL && bytes < FULL_BYTES) || signal.aborted) return undefined;
      room = Promise.withResolvers();
      return room.promise;
    },
    take(limit) {
      let count = 0;
      let taken = 0;
      while (count < Math.min(limit, messages.length) && taken < TAKEN_BYTES) {
        taken += sizeOf(messages[count++]!);
      }
      bytes -= taken;
      room.resolve();
      return messages.splice(0, count);
    },
    async wait(ms) {
      const woken = messages.length > 0 || await within(ms, news.promise.then(() => true));
      news = Promise.withResolvers();
      return woken ?? false;
    },
    wake: () => news.resolve(),
  };
}

function sizeOf(frames: Uint8Array[]): number {
  return frames.reduce((sum, { length }) => sum + length, 0);
}
