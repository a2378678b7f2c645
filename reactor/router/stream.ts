/**
 * The one stream that all inputs lead to: what is accepted gets a number and is journaled, then published in that order.
 * @module
 */
import { setImmediate } from "node:timers";
import { eventText } from "../event.ts";
import type { Journal } from "../journal.ts";

/** Where accepted events go. */
export interface Stream {
  /** Takes an event; `done` is told when it is journaled and published. */
  push(head: string, done?: Done): void;
  /** The same as a promise of the event's text. */
  accept(head: string): Promise<string>;
  /** Resolves when there is room for more; undefined when there is. Inputs wait for it, so that memory stays bounded. */
  room(): Promise<void> | undefined;
  /** How many events are taken and not yet published: those that nobody waits for, and those that somebody does. */
  readonly inHand: { pushed: number; awaited: number };
  /** Resolves when none is. */
  idle(): Promise<void>;
}

/** Events and characters in hand beyond which inputs wait. */
const MAX_EVENTS = 10_000;
const MAX_LENGTH = 32_000_000;

interface Done {
  resolve: (text: string) => void;
  reject: (error: unknown) => void;
}

interface Accepted {
  head: string;
  done: Done | undefined;
}

/**
 * Starts a stream.
 *
 * @param journal none for a router that neither numbers nor keeps its events
 * @param publish sends an event to the subscribers
 * @param failed is told why the journal takes no more events, ever
 */
export function startStream(
  journal: Pick<Journal, "append"> | undefined,
  publish: (text: string) => Promise<void>,
  failed: (error: Error) => void,
): Stream {
  let waiting: Accepted[] = [];
  let scheduled = false;
  let count = 0;
  let awaited = 0;
  let length = 0;
  let room = Promise.withResolvers<void>();
  let published = Promise.resolve();

  function takeAll() {
    scheduled = false;
    const batch = waiting;
    waiting = [];
    const numbers = journal?.append(batch.map(({ head }) => head));
    numbers?.catch(() => {}); // told when its turn comes
    // The next batch may be on its way to the journal while this one is published.
    published = published.then(() => publishAll(batch, numbers));
  }

  async function publishAll(batch: Accepted[], journaled: Promise<number[]> | undefined) {
    try {
      const numbers = await journaled;
      for (let index = 0; index < batch.length; index++) {
        const { head, done } = batch[index]!;
        const text = eventText(head, numbers?.[index]);
        await publish(text);
        done?.resolve(text);
      }
    } catch (error) {
      batch.forEach(({ done }) => done?.reject(error));
      failed(error as Error);
    }
    for (const { head, done } of batch) {
      count--;
      length -= head.length;
      if (done) awaited--;
    }
    room.resolve();
    room = Promise.withResolvers();
  }

  const hasRoom = () => count < MAX_EVENTS && length < MAX_LENGTH;
  function push(head: string, done?: Done) {
    count++;
    length += head.length;
    if (done) awaited++;
    waiting.push({ head, done });
    if (!scheduled) setImmediate(takeAll);
    scheduled = true;
  }

  return {
    push,
    accept: (head) => new Promise((resolve, reject) => push(head, { resolve, reject })),
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
