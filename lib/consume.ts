/**
 * Consuming: a message is acknowledged after its effect, retried through the broker, and dead-lettered in the end.
 * @module
 */
import { Buffer } from "node:buffer";
import type { ConsumeMessage, MessageProperties } from "amqplib";
import { bindingsOf, keepBound } from "./bindings.ts";
import { type Broker, brokerText, type Channel } from "./broker.ts";
import { isRefusal, keepChannel } from "./channel.ts";
import { CLOSE_LIMIT } from "./connection.ts";
import { UNREADABLE } from "./deep_headers.ts";
import { createHand, type Hand } from "./hand.ts";
import { watch } from "./health.ts";
import { consumerCounts } from "./messaging_metrics.ts";
import {
  BadMessage,
  createRetries,
  deliveryCount,
  type History,
  historyOf,
  MOST_DELIVERIES,
} from "./retry.ts";
import { subscribe, type Subscription } from "./subscription.ts";
import { counted, shown } from "./text.ts";
import { recordFailure, tracedProcess, tracing } from "./trace.ts";
import { during, within } from "./wait.ts";

/** A message as a handler gets it. */
export interface Message {
  /** The body's bytes. */
  readonly body: Uint8Array;
  /** The body as text that is safe to print: control characters escaped, what is not UTF-8 too. */
  readonly text: string;
  /** Message properties: `messageId`, `headers`, `contentType`, `timestamp` (seconds), ... */
  readonly properties: MessageProperties;
  /** Exchange that it was first published to. */
  readonly exchange: string;
  /** Routing key that it was first published with. */
  readonly routingKey: string;
  /** 1 at first, 2 at the first retry. */
  readonly attempt: number;
  /** Acknowledges it now; otherwise it is acknowledged when the handler returns. */
  ack(): void;
}

/** What to consume, and how. */
export interface ConsumeOptions {
  /** The queue. */
  queue: string;
  /** Declares the queue, its exchange and bindings; runs again on every new channel. */
  declare: (channel: Channel) => Promise<unknown>;
  /** How many messages may be in hand at once, all handled concurrently (1). */
  prefetch?: number;
  /** Where messages end that cannot be handled (`<queue>.dlq`). */
  deadLetters?: string;
  /** How often a message is tried before it is dead-lettered (5). */
  attempts?: number;
  /** Milliseconds before the first retry (1000); each further one waits three times longer, an hour at most. */
  retryDelay?: number;
  /** Stops consuming: what is in hand is finished, or given back when its handler throws. */
  signal: AbortSignal;
  /** Runs once, when all is declared and before the first message comes. */
  ready?: () => unknown;
}

/** Longest name in AMQP 0-9-1 (short string), in bytes. */
const LONGEST_NAME = 255;

/** The queue where messages of `queue` end that cannot be handled, unless the tool names another. */
export function deadLetterQueue(queue: string): string {
  return `${queue}.dlq`;
}

/**
 * Consumes until `signal` aborts. A handler that returns acknowledges; one that throws {@linkcode BadMessage} dead-letters;
 * any other error retries with growing, jittered delay, then dead-letters. Retries wait in the broker, in queues
 * `<queue>.retry.1`, `.2`, ..., one per delay, as a queue expires messages only at its head
 * (https://www.rabbitmq.com/docs/ttl#per-message-ttl-caveats); they and the dead-letter queue need no arguments on the queue itself, so
 * that programs in other languages may declare it plainly.
 *
 * A message that comes back unacknowledged, because it crashed its consumer or took longer than the broker allows, is counted too. It is
 * dead-lettered when it has come back three times as often as it may be tried, or comes back to a queue that is full and refuses it.
 *
 * A retry needs room in its queue: one that is full and refuses messages (`x-overflow: reject-publish`) lets the broker drop what comes back from
 * a classic retry queue, which does not wait for a confirm. A quorum one tries again every three minutes (`--queue-type quorum`).
 *
 * Headers of a retried or dead-lettered message: `x-attempts`, `x-reason`, `x-original-exchange`, `x-original-routing-key`,
 * `x-original-queue`, `x-redeliveries`.
 *
 * @throws when the broker refuses the declaration, when the connection was given up, or when a message can be neither retried
 * nor dead-lettered; what is in hand then goes back to its queue
 */
export async function consume(
  broker: Broker,
  options: ConsumeOptions,
  handler: (message: Message) => Promise<void> | void,
): Promise<void> {
  const { queue, prefetch = 1, attempts = 5, retryDelay = 1000 } = options;
  const { deadLetters = deadLetterQueue(queue) } = options;
  const bytes = Buffer.byteLength(queue);
  const most = LONGEST_NAME - `.retry.${attempts}`.length;
  if (bytes > most) {
    const limit = `its name has ${bytes} bytes, and ${most} are the most`;
    throw new TypeError(`Cannot consume '${queue}': ${limit}: its retry queues have longer ones`);
  }
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  await using retries = createRetries(broker, {
    queue,
    deadLetters,
    attempts,
    retryDelay,
    signal,
  });
  let subscription: Subscription | undefined;
  /** What is in hand of a consumer that the broker knows. */
  let consuming: Hand | undefined;
  const count = consumerCounts(queue);
  using _measured = count.measure(() => subscription?.hand);
  using _part = watch({
    name: `consumer of '${queue}'`,
    works: true,
    trouble: () => consuming?.open ? undefined : `consumer of '${queue}': it is not subscribed`,
    probe: async () => await consuming?.channel.checkQueue(queue),
    oldest: () => subscription?.hand.oldest ?? 0,
  });
  /** Ids of what this consumer has given back, or lost with its connection: that it comes again is not the message's fault. */
  const returned = new Set<string>();

  function willReturn({ properties: { messageId } }: ConsumeMessage) {
    if (returned.size > 10_000) returned.clear();
    if (messageId !== undefined) returned.add(messageId);
  }

  async function handle(hand: Hand, raw: ConsumeMessage, history: History, since: number) {
    let acknowledged = false;
    function ack() {
      acknowledged = true;
      hand.ack(raw);
    }
    const { content: body, properties } = raw;
    const { exchange, routingKey, attempt } = history;
    const message = {
      ...{ body, properties, exchange, routingKey, attempt, ack },
      get text() {
        return shown(body);
      },
    };
    try {
      const ours = raw.fields.redelivered && returned.delete(properties.messageId);
      if (raw.fields.redelivered && (!ours || deliveryCount(raw) >= MOST_DELIVERIES)) {
        await retries.renew(hand.channel, raw, history, ours);
      } else {
        try {
          if (properties.headers?.[UNREADABLE]) {
            throw new BadMessage("its headers are nested too deeply to be read");
          }
          await handler(message);
          count.seconds((performance.now() - since) / 1000);
        } catch (error) {
          count.seconds((performance.now() - since) / 1000);
          recordFailure(error);
          if (signal.aborted) return hand.giveBack(raw);
          const { messageId } = properties;
          if (acknowledged) {
            broker.log.warn(`Failed after its acknowledgement: ${error}`, { messageId });
          } else await retries.passOn(hand.channel, raw, history, error);
        }
      }
      hand.ack(raw);
      if (hand.lost) willReturn(raw);
    } catch (error) {
      // It could be neither retried nor dead-lettered. After a lost connection it comes again by itself; otherwise stop, rather than
      // try for ever.
      hand.giveBack(raw);
      if ((hand.open || isRefusal(error)) && !signal.aborted) failure.abort(error);
    }
  }

  await keepChannel(broker, {
    open: broker.createChannel,
    async setUp(channel, end) {
      const hand = createHand(channel, count);
      const bindings = await bindingsOf(channel, async () => {
        await options.declare(channel);
        await retries.declare(channel);
      });
      await options.ready?.();
      options.ready = undefined;
      subscription = subscribe(hand, { queue, prefetch }, {
        deliver(raw) {
          count.received.value++;
          if (signal.aborted) hand.giveBack(raw);
          else {
            const history = historyOf(raw, queue);
            const work = (since: number) => handle(hand, raw, history, since);
            const traced = { queue, attempt: history.attempt, broker: broker.name };
            hand.take(
              raw,
              tracing ? (since) => tracedProcess(raw, traced, () => work(since)) : work,
            );
          }
        },
        refuse(raw) {
          willReturn(raw);
          hand.giveBack(raw);
        },
        cancelled() {
          consuming = undefined;
          hand.empty().then(() =>
            end(
              `the broker cancelled the consumer of queue '${queue}', which may have been deleted`,
            )
          );
        },
      });
      await subscription.begun;
      consuming = hand;
      const over = new AbortController();
      channel.on("close", () => over.abort());
      keepBound(broker, bindings, {
        gone: (what) => end(`a binding of queue '${queue}' is gone: ${brokerText(what)}`),
        signal: AbortSignal.any([signal, over.signal]),
      });
    },
    async closed() {
      await subscription?.hand.empty();
    },
    async finish(channel) {
      consuming = undefined;
      if (!subscription) return;
      const { hand, cancel } = subscription;
      await within(CLOSE_LIMIT, cancel());
      await during(`working on ${counted(hand.size)} of '${queue}'`, hand.empty());
      // Without a question before the channel's end RabbitMQ forgets acknowledgements for quorum queues that it has not passed on yet.
      await within(CLOSE_LIMIT, channel.checkQueue(queue).catch(() => {}));
      if (hand.returned > 0) {
        broker.log.info(`Gave ${counted(hand.returned)} back to '${queue}', unfinished`);
      }
    },
    signal,
  });
  if (failure.signal.aborted) throw failure.signal.reason;
}
