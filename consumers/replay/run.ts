/**
 * One run: everything that was chosen is published in its order, and its confirms move the position.
 * @module
 */
import {
  aborted,
  type Broker,
  counted,
  createPublisher,
  duration,
  type Outgoing,
  pause,
  printable,
  type Publisher,
  startProgress,
  within,
} from "@event-sink/lib";
import { outgoingOf } from "./outgoing.ts";
import type { Destination } from "./outgoing.ts";
import type { Position } from "./position.ts";
import { type Found, type Mark, type Source, Unusable } from "./source.ts";

/** What to replay, and how. */
export interface RunOptions {
  source: Source;
  /** Where to begin. */
  from?: Mark;
  /** Undefined when none is kept. */
  position?: Position;
  destination: Destination;
  /** Whether a message is meant. */
  chosen: (found: Found) => boolean;
  /** How many times faster than it was; Infinity is without gaps. */
  speed: number;
  /** Aborts to stop early. */
  signal: AbortSignal;
}

/** How a run ended. */
export interface Outcome {
  published: number;
  /** Messages that were not meant. */
  left: number;
  /** Messages that are published, though one before them is not. */
  beyond: number;
  /** Why it ended early. */
  failure?: Error;
}

/** Errors that are about the message that has them, or about all. */
const ABOUT_THIS_ONE = /no queue is bound|there is no queue|no confirm within/;

/** A message that was given to the publisher. */
interface Sent {
  found: Found;
  /** The place up to which all is done once this message is: behind it, and what was left out after it. */
  mark: Mark;
  outgoing: Outgoing;
  done: boolean;
  /** Why it could not be published. */
  error?: Error;
}

/**
 * Publishes what is chosen; ends at the first message that cannot be published, or is none.
 *
 * @param connect connects to the broker
 * @param timeout milliseconds to wait for the broker
 */
export async function replay(
  connect: () => Promise<Broker>,
  { source, from, position, destination, chosen, speed, signal, timeout }: RunOptions & {
    timeout: number;
  },
): Promise<Outcome> {
  const outcome: Outcome = { published: 0, left: 0, beyond: 0 };
  await using stack = new AsyncDisposableStack();
  const opened = await open().catch((error) => {
    if (!signal.aborted) throw error;
  });
  if (!opened) return { ...outcome, failure: new Error("Stopped") };
  const { broker, publisher } = opened;
  const failing = new AbortController();
  const stop = AbortSignal.any([signal, failing.signal]);
  const line = progressLine(outcome);
  const order = inOrder((mark) => position?.reached(mark));
  const unsettled = new Set<Promise<void>>();
  /** The exchanges that were asked for. */
  const asked = new Set([""]);
  const due = timetable(speed);

  async function open() {
    const broker = stack.use(await connect());
    return { broker, publisher: stack.use(await createPublisher(broker, { timeout, signal })) };
  }
  async function refuseMissing(exchange: string, name: string) {
    const asking = within(timeout, isMissing(broker, exchange));
    if (await Promise.race([asking, aborted(stop)])) {
      throw new Unusable(`${name}: there is no exchange '${printable(exchange)}'`);
    }
    asked.add(exchange);
  }
  function publish(sent: Sent) {
    const settled = publisher.publish(sent.outgoing).then(() => {
      outcome.published++;
      order.done(sent);
    }, (error) => {
      sent.error = error;
      failing.abort();
    }).finally(() => unsettled.delete(settled));
    unsettled.add(settled);
  }

  try {
    for await (const found of source.read(from, stop)) {
      if (!chosen(found)) {
        outcome.left++;
        order.pass(found.mark);
        continue;
      }
      const outgoing = outgoingOf(found, destination);
      if (!asked.has(outgoing.exchange)) await refuseMissing(outgoing.exchange, found.name);
      const wait = due(found.message.time) - performance.now();
      if (wait > 1) await pause(wait, stop);
      await publisher.ready();
      if (stop.aborted) break;
      publish(order.add({ found, outgoing }));
      line.show(found.share);
    }
  } catch (error) {
    if (!stop.aborted) outcome.failure = error as Error;
  } finally {
    await Promise.all(unsettled);
    line.end();
  }
  if (failing.signal.aborted && !signal.aborted) {
    outcome.failure = await blamed(publisher, order, outcome);
  }
  if (signal.aborted) outcome.failure = new Error("Stopped");
  outcome.beyond = order.left().filter(({ done }) => done).length;
  return outcome;
}

/**
 * When the broker closes a channel for a message it fails others with it, and does not say for which it was: one after the other, in their
 * order, they tell.
 */
async function blamed(
  publisher: Publisher,
  order: Order,
  outcome: Outcome,
): Promise<Error> {
  const failed = order.left().filter(({ error }) => error);
  const { found: { name }, error } = failed[0]! as Required<Sent>;
  if (ABOUT_THIS_ONE.test(error.message)) return new Error(`${name}: ${error.message}`);
  for (const sent of failed) {
    try {
      await publisher.publish(sent.outgoing);
      outcome.published++;
      order.done(sent);
    } catch (reason) {
      return new Error(`${sent.found.name}: ${(reason as Error).message}`);
    }
  }
  return new Error(`${name}: ${error.message}; it was published at a further attempt`);
}

type Order = ReturnType<typeof inOrder>;

/** Tells how far everything is done, whatever the order in which it gets done. */
function inOrder(reached: (mark: Mark) => void) {
  const waiting = new Set<Sent>();
  let last: Sent | undefined;
  return {
    add(each: { found: Found; outgoing: Outgoing }): Sent {
      last = { ...each, mark: each.found.mark, done: false };
      waiting.add(last);
      return last;
    },
    /** Something that is left out. */
    pass(mark: Mark) {
      if (last && waiting.has(last)) last.mark = mark;
      else reached(mark);
    },
    done(sent: Sent) {
      sent.done = true;
      for (const each of waiting) {
        if (!each.done) break;
        waiting.delete(each);
        reached(each.mark);
      }
    },
    /** What was added and is not done, or something before it is not. */
    left: () => [...waiting],
  };
}

/**
 * Whether an exchange is known not to exist. A message to it would take those beside it along, as the broker closes the channel for it; whatever
 * else comes in the way of the question is for the publisher to deal with.
 */
async function isMissing(broker: Broker, exchange: string): Promise<boolean> {
  try {
    const channel = await broker.createConfirmChannel(); // on the publisher's connection
    channel.on("error", () => {}); // the question gets the same one
    await channel.checkExchange(exchange);
    await channel.close();
    return false;
  } catch (error) {
    return (error as { code?: number }).code === 404;
  }
}

/** Returns when a message of that time is to go, on the clock of `performance.now()`: as long after the first as it was, at the given speed. */
function timetable(speed: number): (time: Date | undefined) => number {
  let began: number | undefined;
  let first = 0;
  return (time) => {
    if (!time || speed === Infinity) return 0;
    if (began === undefined) {
      began = performance.now();
      first = time.getTime();
    }
    return began + (time.getTime() - first) / speed;
  };
}

function progressLine(outcome: Outcome) {
  const progress = startProgress();
  const started = performance.now();
  let initial: number | undefined;
  return {
    show(share: number | undefined) {
      if (!progress || share === undefined) return;
      initial ??= share;
      const seconds = (performance.now() - started) / 1000;
      const left = share > initial
        ? `, ${duration(seconds * (1 - share) / (share - initial))} left`
        : "";
      const rate = Math.round(outcome.published / seconds);
      progress.show(share, `${counted(outcome.published)} replayed, ${rate}/s${left}`);
    },
    end: () => progress?.end(),
  };
}
