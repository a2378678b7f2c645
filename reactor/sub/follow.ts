/**
 * Follows the stream of events: live from the router, and from the journal what was missed.
 * @module
 */
import { type Log, within } from "@event-sink/lib";
import { parseStreamEvent, type StreamEvent } from "../event.ts";
import { createInbox } from "./inbox.ts";
import { createSequence, type SequenceOptions } from "./sequence.ts";

/** Live events that are handled together at most. */
const BATCH = 500;
/** Milliseconds that MongoDB may take for what is in hand after the signal has aborted. */
const LAST_WRITES = 5000;

/** What to follow, and with what. */
export interface FollowOptions extends SequenceOptions {
  /**
   * Hands over the frames of each message, until the signal aborts. When `handle` returns a promise, the next message waits for it.
   */
  receive: (handle: (frames: Uint8Array[]) => Promise<void> | undefined) => Promise<void>;
  /** Milliseconds of silence after which the journal is asked whether something was missed. */
  idle: number;
}

/** Following events. */
export interface Follower {
  /** Asks the journal now, as after a connection was lost. */
  catchUp(): void;
  /**
   * Resolves soon after the signal has aborted.
   *
   * @throws when the router or MongoDB refuses this client
   */
  readonly ended: Promise<void>;
}

/** Handles every event after the position, each once, until the signal aborts. */
export function follow(options: FollowOptions): Follower {
  const { receive, idle, signal, log } = options;
  const inbox = createInbox(signal);
  const sequence = createSequence(options);
  let asked = true;

  async function process() {
    while (!signal.aborted) {
      if (!asked && !await inbox.wait(idle)) asked = true;
      if (asked) {
        asked = false;
        await sequence.catchUp();
      }
      await sequence.handleLive(inbox.take(BATCH).flatMap((frames) => parse(frames, log)));
    }
  }

  async function end() {
    const work = Promise.all([receive(inbox.put), process()]).then(() => true);
    const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await Promise.race([work, aborted]);
    if (await within(LAST_WRITES, work)) return;
    log.warn("MongoDB does not answer: what is in hand comes from the journal at the next start");
  }

  return {
    catchUp() {
      asked = true;
      inbox.wake();
    },
    ended: end(),
  };
}

/** The event of a message; none when it is no event. */
function parse(frames: Uint8Array[], log: Log): StreamEvent[] {
  try {
    if (frames.length !== 1) throw new TypeError(`a message of ${frames.length} frames`);
    return [parseStreamEvent(frames[0]!, { namespace: "local" })];
  } catch (error) {
    log.warn(`Ignored a message: ${(error as Error).message}`);
    return [];
  }
}
