/**
 * Handles every event once, in the order of the numbers: each live event is compared with the position, and a gap is filled from the journal.
 * @module
 */
import { type Log, throughOutages } from "@event-sink/lib";
import { storedEvent, type StreamEvent } from "../event.ts";
import type { Journal } from "../journal/journal.ts";
import { isFinal } from "../mongo_errors.ts";

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
  handle: (events: StreamEvent[], position: number | undefined) => Promise<void>;
  signal: AbortSignal;
  log: Log;
}

/** Handles events in sequence. One call at a time. */
export interface Sequence {
  /** Handles what the journal has after the position. */
  catchUp(): Promise<void>;
  /** Handles live events: skips those that came from the journal before, and fetches those that are missing. */
  handleLive(events: StreamEvent[]): Promise<void>;
}

/** Creates a sequence. Its calls wait while MongoDB is away, and throw the signal's reason when that aborts. */
export function createSequence(options: SequenceOptions): Sequence {
  const { journal, handle, signal, log } = options;
  let { position } = options;
  const outages = { signal, log, isFinal, longest: 2000 };

  async function handleNext(events: StreamEvent[]) {
    if (events.length === 0) return;
    const last = events.findLast(({ number }) => number !== undefined)?.number;
    await throughOutages(() => handle(events, last), outages);
    position = Math.max(position, last ?? 0);
  }

  async function catchUp() {
    while (!signal.aborted) {
      const missed = await throughOutages(() => journal.since(position, BATCH), outages);
      if (missed.length === 0) return;
      const events = missed.map(storedEvent);
      warnOfGap(events[0]!.number!);
      await handleNext(events);
    }
  }

  /** Events that have expired, or were never written. */
  function warnOfGap(next: number) {
    if (next === position + 1) return;
    log.warn(`The journal does not have the events ${position + 1} to ${next - 1}`);
  }

  async function handleLive(events: StreamEvent[]) {
    let next: StreamEvent[] = [];
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
