/**
 * Watching exchanges: a queue of its own is bound to them, which nobody else has.
 * @module
 */
import {
  aborted,
  backoff,
  type Broker,
  brokerText,
  counter,
  pause,
  watch,
  within,
} from "@event-sink/lib";
import type { Channel } from "amqplib";
import { createInbox, type Seen } from "./inbox.ts";
import { countUnseen, type Unseen } from "./unseen.ts";
import type { Source } from "./source.ts";

/** What to do with what comes. */
export interface Tapping {
  /** Takes what has come; what comes meanwhile waits, here and then in the queue. */
  take: (messages: Seen[]) => Promise<void>;
  /** Runs whenever messages begin to come: at first, and after each interruption. */
  ready: () => void;
  /** Ends it. */
  signal: AbortSignal;
}

/** Messages that the queue holds at most; of more the oldest are dropped, so that a tap that does not read never fills the broker. */
const MOST_WAITING = 50_000;
/** The same, in bytes of bodies. */
const MOST_WAITING_BYTES = 64 * 2 ** 20;

/** Milliseconds without a consumer after which the broker deletes the queue. */
const QUEUE_EXPIRES = 30_000;

/** Milliseconds between two looks at queue and exchanges. */
const LOOK_INTERVAL = 1000;

/** Reply codes that no repetition changes: access refused, precondition failed, command invalid, not allowed, not implemented. */
const REFUSALS = [403, 406, 503, 530, 540];

/**
 * Taps exchanges until `signal` aborts. A lost connection is made again; what was published meanwhile is not seen.
 *
 * @throws when an exchange does not exist, or no more, when the broker refuses, and what `take` throws
 */
export async function tapExchanges(
  broker: Broker,
  sources: Source[],
  { take, ready, signal }: Tapping,
): Promise<void> {
  const names = [...new Set(sources.map(({ exchange }) => exchange))].join(", ");
  const stopped = aborted(signal);
  let asked: (() => Promise<unknown>) | undefined;
  using _part = watch({
    name: `tap of ${names}`,
    works: true,
    trouble: () => asked ? undefined : `tap of ${names}: it does not consume`,
    probe: () => asked!(),
  });
  const received = counter("messaging_client_consumed_messages_total", "Messages delivered", {
    messaging_system: "rabbitmq",
    messaging_destination_name: names,
  });
  let failure: { error: unknown } | undefined;
  let bytes = 0;
  let working: Promise<void> | undefined;
  async function taken(messages: Seen[]) {
    received.value += messages.length;
    for (const { raw } of messages) bytes += raw.content.length;
    try {
      await (working = take(messages));
    } catch (error) {
      failure = { error };
    }
    if (failure) throw failure.error;
  }
  let known = false;
  using unseen = countUnseen(broker.log, () => bytes / Math.max(1, received.value));
  for (let failures = 1; !signal.aborted; failures++) {
    let channel: Channel | undefined;
    try {
      const opening = broker.createChannel();
      channel = await Promise.race([opening, stopped]) as Channel | undefined;
      if (!channel) return void opening.catch(() => {}); // it closes with its connection
      const tapping = tapOnce(broker, channel, { sources, unseen }, taken, (ask) => {
        asked = ask;
        failures = 0;
        known = true;
        ready();
      });
      await Promise.race([tapping, stopped]);
    } catch (error) {
      if (failure) throw failure.error;
      if (broker.failure) throw broker.failure;
      const why = brokerText(error);
      const [, missing] = /no exchange '(.*)' in vhost/s.exec(why) ?? [];
      if (missing !== undefined) {
        const text = known
          ? `The exchange '${missing}' is gone from`
          : `There is no exchange '${missing}' at`;
        throw new Error(`${text} ${broker.name}`);
      }
      if (unseen.refused(error as Error)) continue;
      if (REFUSALS.includes((error as { code?: number }).code ?? 0)) {
        throw new Error(`Cannot tap ${names}: ${why}`);
      }
      broker.log.debug(`The tap was interrupted: ${why}`);
    } finally {
      asked = undefined;
      if (channel) await within(LOOK_INTERVAL, unseen.look(channel).catch(() => {})); // it may have closed
      channel?.close().catch(() => {}); // it may have closed by itself
      // A terminal that stands still must not get a further hand full with each connection.
      await Promise.race([Promise.allSettled([working]), stopped]);
    }
    if (failure) throw failure.error;
    await pause(backoff(failures), signal).catch(() => {});
  }
}

/** @throws when the channel has ended, or what it is for cannot be done */
async function tapOnce(
  broker: Broker,
  channel: Channel,
  { sources, unseen }: { sources: Source[]; unseen: Unseen },
  take: Tapping["take"],
  begun: (ask: () => Promise<unknown>) => void,
): Promise<void> {
  let ended: Error | undefined;
  const closed = new Promise<never>((_, reject) => {
    channel.on("error", (error) => ended = error);
    channel.on("close", () => reject(ended ??= new Error("the channel has closed")));
  });
  closed.catch(() => {}); // nobody may wait for it any more
  // queue.declare: exclusive, it goes with the connection. Not auto-delete, which would delete it whenever the consumer is replaced; that it
  // expires does the same, later. Not of the virtual host's default type: a quorum queue cannot be exclusive.
  const { queue } = await channel.assertQueue("", {
    exclusive: true,
    durable: false,
    expires: QUEUE_EXPIRES,
    maxLength: MOST_WAITING,
    ...await unseen.declare(channel),
    arguments: {
      "x-queue-type": "classic",
      "x-max-length-bytes": MOST_WAITING_BYTES,
      "x-overflow": "drop-head",
    },
  });
  await bind(channel, queue, sources);
  const inbox = await createInbox(channel, queue);
  begun(() => channel.checkQueue(queue));
  const watching = look(broker, queue, { sources, unseen }, () => ended === undefined);
  await Promise.race([closed, inbox.passOn(take), watching]);
}

/**
 * queue.bind. No exchange is declared, and none has to be: with the key `#` and no arguments a binding gets everything from a fanout, a topic and a
 * headers exchange (without arguments all of none have to match).
 */
async function bind(channel: Channel, queue: string, sources: Source[]): Promise<void> {
  for (const { exchange, key } of sources) await channel.bindQueue(queue, exchange, key);
}

/**
 * Looks again and again whether messages were dropped, and whether the exchanges are still there: nobody is told when one is deleted. To bind
 * again does nothing while the binding is there, and is what is needed when an exchange was made anew. On a channel of its own, which a missing
 * exchange closes.
 */
async function look(
  broker: Broker,
  queue: string,
  { sources, unseen }: { sources: Source[]; unseen: Unseen },
  open: () => boolean,
): Promise<void> {
  const channel = await broker.createChannel();
  channel.on("error", () => {}); // whoever waits for an answer gets the same error
  try {
    for (; open(); await pause(LOOK_INTERVAL)) {
      await bind(channel, queue, sources);
      await unseen.look(channel);
    }
  } finally {
    channel.close().catch(() => {}); // it may have closed by itself
  }
}
