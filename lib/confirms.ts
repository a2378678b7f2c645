/**
 * A confirm channel that recovers: what is unconfirmed when it ends goes out again on the next one.
 * @module
 */
import type { ConfirmChannel, Message as AmqpMessage } from "amqplib";
import { type Broker, brokerText, type Channel } from "./broker.ts";
import { keepChannel } from "./channel.ts";
import { publisherCounts } from "./messaging_metrics.ts";
import type { Unconfirmed, Window } from "./unconfirmed.ts";

/** The way to the broker for the messages of a window. */
export interface Confirms {
  /** Resolves with the first channel; rejects when there can be none. */
  readonly opened: Promise<true>;
  /** Since when there is no channel, in milliseconds since the epoch; undefined while there is one. */
  readonly offline: number | undefined;
  /** Why nothing can be sent any more, once that is so. */
  readonly failure: Error | undefined;
  /** Sends a message of the window, now or as soon as there is a channel. */
  send(message: Unconfirmed): void;
  /** Closes the channel for good. */
  close(): Promise<void>;
}

/** How to send. */
export interface ConfirmsOptions {
  /** Declares exchanges and queues; runs again on every new channel. */
  declare?: (channel: Channel) => Promise<unknown>;
  /** When it aborts and there is no channel, what waits is rejected. */
  signal?: AbortSignal;
}

/** Begins the reason why a message could not be sent that amqplib cannot write, though it may have read it. */
export const UNWRITABLE = "it cannot be written";

/** Milliseconds until a message goes out again that the broker has refused. */
const REFUSED = 1000;

/** Refusals after which a message is given up that does not go out until it is taken. */
const REFUSALS = 3;

/** Channel errors after which a message does not go out again. */
const CHANNEL_ERRORS = 3;

/**
 * Keeps a confirm channel open.
 *
 * @param window the messages that wait for their confirms; they are settled here
 */
export function keepConfirms(
  broker: Broker,
  window: Window,
  { declare, signal }: ConfirmsOptions,
): Confirms {
  let channel: ConfirmChannel | undefined;
  let offline: number | undefined = Date.now();
  let failure: Error | undefined;
  /** Whether the broker's refusal is told. */
  let refusing = false;
  const closing = new AbortController();
  const opened = Promise.withResolvers<true>();
  opened.promise.catch(() => {}); // nobody waits for it any more when it failed later

  function send(message: Unconfirmed) {
    if (!channel) return;
    clearTimeout(message.again);
    message.sent = Date.now();
    message.unroutable = false;
    const { exchange, routingKey, content, options } = message;
    try {
      channel.publish(exchange, routingKey, content, options, (error) => {
        // amqplib's error for what is unconfirmed when a channel closes: it is sent again on the next one.
        if (error?.message === "channel closed") return;
        if (error) return refused(message);
        refusing = false;
        if (message.unroutable) fail(message, unroutable(message));
        else {
          const counts = publisherCounts(exchange);
          counts.confirmed.value++;
          counts.seconds((Date.now() - message.sent) / 1000);
          window.settle(message);
        }
      });
    } catch (error) {
      // A closing channel throws; the next one sends it. Anything else is about this message.
      if ((error as Error).name !== "IllegalOperationError") {
        fail(message, `${UNWRITABLE}: ${(error as Error).message}`);
      }
    }
  }
  /** A full disk or queue may have room again; a quorum queue that another connection is just declaring refuses, too. */
  function refused(message: Unconfirmed) {
    const why = "the broker refused the message (nack)";
    const { patient } = message;
    message.refusedSince ??= Date.now();
    if (!patient && ++message.refusals >= REFUSALS) return fail(message, why);
    const until = patient ? " until it is taken" : "";
    if (!refusing) broker.log.warn(`Cannot publish: ${why}. Trying again${until}`);
    refusing = true;
    message.again = setTimeout(() => window.messages.has(message) && send(message), REFUSED);
  }
  /** The broker does not say which message it has closed the channel for: each goes out on the next one, until it was there too often. */
  function blame(error: Error) {
    for (const message of [...window.messages]) {
      if (++message.channelErrors >= CHANNEL_ERRORS) fail(message, brokerText(error));
    }
  }
  function fail(message: Unconfirmed, why: string) {
    window.settle(message, new Error(`Cannot publish: ${why}`));
  }

  /** `basic.return` names no delivery tag, so that a message is found by its id and target; equal ones come back in the order they were sent. */
  function markUnroutable({ fields, properties }: AmqpMessage) {
    for (const message of window.messages) {
      if (
        message.options.messageId === properties.messageId && !message.unroutable &&
        message.exchange === fields.exchange && message.routingKey === fields.routingKey
      ) {
        message.unroutable = true;
        publisherCounts(message.exchange).returned.value++;
        return;
      }
    }
  }

  const onAbort = () => channel || window.fail(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const keeping = keepChannel(broker, {
    open: broker.createConfirmChannel,
    async setUp(opening) {
      opening.on("return", markUnroutable);
      await declare?.(opening);
      channel = opening;
      offline = undefined;
      for (const message of window.messages) send(message);
      opened.resolve(true);
    },
    closed(error) {
      channel = undefined;
      offline ??= Date.now();
      if (error) blame(error);
      if (signal?.aborted) window.fail(signal.reason);
    },
    signal: closing.signal,
  }).catch((error) => {
    failure = new Error(`Cannot publish: ${error.message}`);
    window.fail(failure);
    opened.reject(failure);
  });

  return {
    opened: opened.promise,
    get offline() {
      return offline;
    },
    get failure() {
      return failure;
    },
    send,
    async close() {
      failure ??= new Error("Cannot publish: the publisher is closed");
      signal?.removeEventListener("abort", onAbort);
      closing.abort();
      await keeping;
    },
  };
}

function unroutable({ exchange, routingKey }: Unconfirmed): string {
  return exchange === ""
    ? `there is no queue '${routingKey}'`
    : `no queue is bound to exchange '${exchange}' for routing key '${routingKey}'`;
}
