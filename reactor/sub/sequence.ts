/**
 * Handles every event once, in the order of the numbers: each live event is compared with the position, and a gap is filled from the journal.
 * @module
 */
import { type Log, pause } from "@event-sink/lib";
import type { ReactorEvent } from "../event.ts";
import type { Journal } from "../journal/journal.ts";

/** Events of the journal that are handled together at most. */
const BATCH = 500;

/** What a sequence works with. */
export interface SequenceOptions {
  journal: Pick<Journal, "since">;
  /** The number of the last event that was handled; 0 before the first. */
  position: number;
  /**
   * Handles events, in order, and remembers the position: the number of the last one, undefined when none of them has a number. Resolves when both
   * are durable.
   */
  handle: (events: ReactorEvent[], position: number | undefined) => Promise<void>;
  signal: AbortSignal;
  log: Log;
}

/** Handles events in sequence. One call at a time. */
export interface Sequence {
  /** Handles what the journal has after the position. */
  catchUp(): Promise<void>;
  /** Handles live events: skips those that came from the journal before, and fetches those that are missing. */
  handleLive(events: ReactorEvent[]): Promise<void>;
}

/** Creates a sequence. Its calls wait while MongoDB is away, and throw the signal's reason when that aborts. */
export function createSequence(options: SequenceOptions): Sequence {
  const { journal, handle, signal, log } = options;
  let { position } = options;

  async function handleNext(events: ReactorEvent[]) {
    if (events.length === 0) return;
    const last = events.findLast(({ number }) => number !== undefined)?.number;
    await whileAway(() => handle(events, last), { signal, log });
    position = Math.max(position, last ?? 0);
  }

  async function catchUp() {
    while (!signal.aborted) {
      const missed = await whileAway(() => journal.since(position, BATCH), { signal, log });
      if (missed.length === 0) return;
      warnOfGap(missed[0]!.number!);
      await handleNext(missed);
    }
  }

  /** Events that have expired, or were never written. */
  function warnOfGap(next: number) {
    if (next === position + 1) return;
    log.warn(`The journal does not have the events ${position + 1} to ${next - 1}`);
  }

  async function handleLive(events: ReactorEvent[]) {
    let next: ReactorEvent[] = [];
    let reached = position;
    for (const event of events) {
      const { number } = event;
      if (number !== undefined) {
        if (number <= reached) continue;
        if (number > reached + 1) {
          await handleNext(next);
          next = [];
          await catchUp();
          if (number <= position) {
            reached = position;
            continue;
          }
          warnOfGap(number);
        }
        reached = number;
      }
      next.push(event);
    }
    await handleNext(next);
  }

  return { catchUp, handleLive };
}

/** Tries again and again while MongoDB is away. */
async function whileAway<T>(
  attempt: () => Promise<T>,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<T> {
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
