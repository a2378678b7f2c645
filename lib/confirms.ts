/**
 * A confirm channel that recovers: what is unconfirmed when it ends goes out again on the next one.
 * @module
 */
import type { ConfirmChannel, Message as AmqpMessage } from "amqplib";
import { type Broker, brokerText, type Channel } from "./broker.ts";
import { keepChannel } from "./channel.ts";
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

/**
 * Keeps a confirm channel open.
 *
 * @param window the messages that wait for their confirms; they are settled here
 */
export function keepConfirms(
  broker: Broker,
  window: Window,
  { declare, signal }: { declare?: (channel: Channel) => Promise<unknown>; signal?: AbortSignal },
): Confirms {
  let channel: ConfirmChannel | undefined;
  let offline: number | undefined = Date.now();
  let failure: Error | undefined;
  const closing = new AbortController();
  const opened = Promise.withResolvers<true>();
  opened.promise.catch(() => {}); // nobody waits for it any more when it failed later

  function send(message: Unconfirmed) {
    if (!channel) return;
    message.sent = Date.now();
    message.unroutable = false;
    const { exchange, routingKey, content, options } = message;
    try {
      channel.publish(exchange, routingKey, content, options, (error) => {
        // amqplib's error for what is unconfirmed when a channel closes: it is sent again on the next one.
        if (error?.message === "channel closed") return;
        if (error) fail(message, "the broker refused the message (nack)");
        else if (message.unroutable) fail(message, unroutable(message));
        else window.settle(message);
      });
    } catch (error) {
      // A closing channel throws; the next one sends it. Anything else is about this message.
      if ((error as Error).name !== "IllegalOperationError") {
        fail(message, (error as Error).message);
      }
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
      // The broker does not say which message was at fault; none of them is confirmed.
      if (error) window.fail(new Error(`Cannot publish: ${brokerText(error)}`));
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
