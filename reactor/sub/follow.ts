/**
 * The stream of events, each once: live from the router, and from the journal what was missed.
 * @module
 */
import { type Log, pause, within } from "@event-sink/lib";
import { parseEvent, type ReactorEvent } from "../event.ts";
import type { Journal } from "../journal.ts";

/** Events that are handled together at most. */
const BATCH = 500;
/** Events in memory from which on the socket is not read. */
const FULL = 5000;
/** Milliseconds that MongoDB may take for what is in hand after the signal has aborted. */
const LAST_WRITES = 5000;

/** What to follow, and with what. */
export interface FollowOptions {
  /** Hands over the frames of each message, one after the other, until the signal aborts. */
  receive: (handle: (frames: Uint8Array[]) => Promise<void> | undefined) => Promise<void>;
  journal: Journal;
  /** Where to begin, remembered by `handle`. */
  position: number;
  /** Handles events, in order; with the number of the last one, when it has one. Resolves when that is durable. */
  handle: (events: ReactorEvent[], position: number | undefined) => Promise<void>;
  /** Milliseconds of silence after which the journal is asked whether something was missed. */
  idle: number;
  signal: AbortSignal;
  log: Log;
}

/** Following events. */
export interface Follower {
  /** Asks the journal now, as after a connection was lost. */
  catchUp(): void;
  /** Resolves soon after the signal has aborted. */
  readonly ended: Promise<void>;
}

/** Handles every event after the position, each once, until the signal aborts. */
export function follow(options: FollowOptions): Follower {
  const { receive, journal, handle, idle, signal, log } = options;
  let position = options.position;
  const live: ReactorEvent[] = [];
  let asked = true;
  let news = Promise.withResolvers<void>();
  let space = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => {
    news.resolve();
    space.resolve();
  });

  function take(frames: Uint8Array[]): Promise<void> | undefined {
    try {
      if (frames.length !== 1) throw new TypeError(`a message of ${frames.length} frames`);
      live.push(parseEvent(frames[0]!, { namespace: "local" }));
    } catch (error) {
      log.warn(`Ignored a message: ${(error as Error).message}`);
    }
    news.resolve();
    if (live.length < FULL || signal.aborted) return;
    space = Promise.withResolvers();
    return space.promise;
  }

  async function process() {
    while (!signal.aborted) {
      if (live.length === 0 && !asked) {
        if (await within(idle, news.promise.then(() => true)) === undefined) asked = true;
      }
      news = Promise.withResolvers();
      if (asked) {
        asked = false;
        await catchUp();
      }
      const batch = live.splice(0, BATCH);
      space.resolve();
      await handleLive(batch);
    }
  }

  async function handleLive(batch: ReactorEvent[]) {
    let next: ReactorEvent[] = [];
    let reached = position;
    const flush = async () => {
      if (next.length > 0) await done(next);
      next = [];
    };
    for (const event of batch) {
      const { number } = event;
      if (number !== undefined) {
        if (number <= reached) continue; // it came from the journal before
        if (number > reached + 1) {
          await flush();
          await catchUp();
          if (number <= position) {
            reached = position;
            continue;
          }
          log.warn(`The journal does not have the events ${position + 1} to ${number - 1}`);
        }
        reached = number;
      }
      next.push(event);
    }
    await flush();
  }

  /** Handles what the journal has after the position. */
  async function catchUp() {
    while (!signal.aborted) {
      const missed = await waiting(() => journal.since(position, BATCH));
      if (missed.length === 0) return;
      const first = missed[0]!.number!;
      if (first > position + 1) {
        log.warn(`The journal does not have the events ${position + 1} to ${first - 1}`);
      }
      await done(missed);
    }
  }

  async function done(events: ReactorEvent[]) {
    const last = events.findLast(({ number }) => number !== undefined)?.number;
    await waiting(() => handle(events, last));
    position = Math.max(position, last ?? 0);
  }

  /** Tries again while MongoDB is away. */
  async function waiting<T>(attempt: () => Promise<T>): Promise<T> {
    for (let failures = 0;; failures++) {
      try {
        const result = await attempt();
        if (failures > 0) log.info("MongoDB is back");
        return result;
      } catch (error) {
        const { message, code } = error as Error & { code?: number };
        // 13 Unauthorized, 18 AuthenticationFailed
        if (code === 13 || code === 18) throw new Error(`Cannot use MongoDB: ${message}`);
        if (failures === 0 && !signal.aborted) {
          log.warn(`Cannot use MongoDB: ${message}. Waiting until it can be used`);
        }
        await pause(Math.min(2000, 50 * 2 ** failures), signal);
      }
    }
  }

  async function end() {
    const work = Promise.all([receive(take), process()]).then(() => true);
    const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await Promise.race([work, aborted]);
    if (await within(LAST_WRITES, work)) return;
    log.warn("MongoDB does not answer: what is in hand comes from the journal at the next start");
  }

  return {
    catchUp() {
      asked = true;
      news.resolve();
    },
    ended: end(),
  };
}
