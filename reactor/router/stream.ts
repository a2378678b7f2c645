/**
 * The one stream into which all inputs lead: each event gets a number, is journaled, and is published in the order of the numbers.
 * @module
 */
import { setImmediate } from "node:timers";
import { counter, inSpan, type Traced } from "@event-sink/lib";
import { eventText } from "../event.ts";
import type { Journal } from "../journal/journal.ts";
import { writeSpan } from "../trace.ts";
import type { Output } from "./output.ts";

/** Where accepted events go. */
export interface Stream {
  /** Takes an event, given as the head of its text (see `event.ts`), for which nobody waits; `trace` is its span, while it is traced. */
  push(head: string, trace?: Traced): void;
  /**
   * Takes an event, and resolves with its text when it is journaled and published.
   *
   * @throws when the journal cannot take it
   */
  accept(head: string, trace?: Traced): Promise<string>;
  /** A promise that resolves when there is room for more events; undefined when there is room now. Inputs wait for it, so that memory stays bounded. */
  room(): Promise<void> | undefined;
  /** How many events are taken and not published yet: by `push` and by `accept`. */
  readonly inHand: { pushed: number; awaited: number };
  /** Resolves when every event that was taken is published. */
  idle(): Promise<void>;
}

/** Events in hand, and characters of them, from which on inputs wait. */
const MAX_EVENTS = 10_000;
const MAX_LENGTH = 32_000_000;

/** Who waits for an event. */
interface Waiter {
  resolve: (text: string) => void;
  reject: (error: unknown) => void;
}

interface Taken {
  head: string;
  trace: Traced | undefined;
  waiter: Waiter | undefined;
}

/**
 * Starts a stream.
 *
 * @param journal none for a router that neither numbers nor keeps its events
 * @param outputs each gets every event
 * @param failed called when an event cannot be journaled or published, which no further attempt changes
 */
export function startStream(
  journal: Pick<Journal, "append"> | undefined,
  outputs: Pick<Output, "publish">[],
  failed: (error: Error) => void,
): Stream {
  let waiting: Taken[] = [];
  let scheduled = false;
  let count = 0;
  let awaited = 0;
  let length = 0;
  let room = Promise.withResolvers<void>();
  let published = Promise.resolve();
  const sent = counter("messaging_client_sent_messages_total", "Events published", {
    messaging_system: "zeromq",
  });

  function takeAll() {
    scheduled = false;
    const batch = waiting;
    waiting = [];
    const causes = batch.flatMap(({ trace }) => trace ?? []);
    const append = () => journal?.append(batch.map(({ head }) => head));
    const numbers = journal && causes.length > 0
      ? inSpan(...writeSpan("insert", "journal", causes), append)
      : append();
    numbers?.catch(() => {}); // publishAll() handles it when it is this batch's turn
    // Not awaited: the next batch may go to the journal while this one is published.
    published = published.then(() => publishAll(batch, numbers));
  }

  async function publishAll(batch: Taken[], journaled: Promise<number[]> | undefined) {
    try {
      const numbers = await journaled;
      for (const [index, { head, waiter }] of batch.entries()) {
        const text = eventText(head, numbers?.[index]);
        await publish(text);
        waiter?.resolve(text);
      }
      sent.value += batch.length;
    } catch (error) {
      batch.forEach(({ waiter }) => waiter?.reject(error));
      failed(error as Error);
    }
    for (const { head, waiter } of batch) {
      count--;
      length -= head.length;
      if (waiter) awaited--;
    }
    room.resolve();
    room = Promise.withResolvers();
  }

  const [only, ...others] = outputs;
  const publish = others.length === 0
    ? only!.publish
    : async (text: string) => void await Promise.all(outputs.map((each) => each.publish(text)));

  const hasRoom = () => count < MAX_EVENTS && length < MAX_LENGTH;
  function take(head: string, trace?: Traced, waiter?: Waiter) {
    count++;
    length += head.length;
    if (waiter) awaited++;
    waiting.push({ head, trace, waiter });
    if (!scheduled) setImmediate(takeAll);
    scheduled = true;
  }

  return {
    push: take,
    accept: (head, trace) =>
      new Promise((resolve, reject) => take(head, trace, { resolve, reject })),
    room: () =>
      hasRoom() ? undefined : (async () => {
        while (!hasRoom()) await room.promise;
      })(),
    get inHand() {
      return { pushed: count - awaited, awaited };
    },
    async idle() {
      while (count > 0) await room.promise;
    },
  };
}
