/**
 * Publishing: sent means confirmed by the broker.
 * @module
 */
import { Buffer } from "node:buffer";
import type { ConfirmChannel, Message as AmqpMessage, Options } from "amqplib";
import { type Broker, brokerText, type Channel } from "./broker.ts";
import { keepChannel } from "./channel.ts";
import { during, within } from "./tool.ts";

/** A message to publish. */
export interface Outgoing {
  /** Exchange; the default exchange (`""`) routes to the queue that the routing key names. */
  exchange?: string;
  /** Routing key; for the default exchange the queue's name. */
  routingKey: string;
  /** The body; text is sent as UTF-8. */
  body: string | Uint8Array;
  /** Further properties: `messageId` (default a random UUID), `timestamp` (now, in seconds), `contentType`, `headers`, ... */
  properties?: Options.Publish;
}

/** Publishes over one confirm channel that recovers. Dispose it to wait for what is unconfirmed and close it. */
export interface Publisher extends AsyncDisposable {
  /**
   * Publishes a durable (persistent, mandatory) message; resolves when the broker has confirmed it.
   *
   * When the connection breaks, what is unconfirmed is published again with the same `messageId`: at least once.
   *
   * @throws when no queue took it, the broker refused it, or there was no confirm within the timeout
   */
  publish(message: Outgoing): Promise<void>;
  /** Undefined when there is room for another unconfirmed message, else a promise of room: await it to keep memory flat. */
  ready(): Promise<void> | undefined;
}

/** How to publish. */
export interface PublisherOptions {
  /** Declares exchanges and queues; runs again on every new channel. */
  declare?: (channel: Channel) => Promise<unknown>;
  /** Milliseconds that a message may wait for its confirm (10,000), outages included. */
  timeout?: number;
  /** For tools that outlive the broker: opening waits until it aborts; then what is unconfirmed while there is no connection rejects at once. */
  signal?: AbortSignal;
}

/** Bounds of what is unconfirmed: enough to hide the round trip, small enough to keep memory flat. */
const WINDOW_MESSAGES = 1000;
const WINDOW_BYTES = 16 * 2 ** 20;

interface Unconfirmed {
  exchange: string;
  routingKey: string;
  content: Buffer;
  options: Options.Publish;
  deadline: number;
  unroutable: boolean;
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Opens a publisher.
 *
 * @throws when the declaration is refused, when the connection was given up, or when no channel opens in time
 */
export async function createPublisher(
  broker: Broker,
  { declare, timeout = 10_000, signal }: PublisherOptions = {},
): Promise<Publisher> {
  const unconfirmed = new Set<Unconfirmed>();
  let bytes = 0;
  let channel: ConfirmChannel | undefined;
  let failure: Error | undefined;
  let roomWaiters: (() => void)[] = [];
  let idle: (() => void) | undefined;

  function settle(message: Unconfirmed, error?: Error) {
    if (!unconfirmed.delete(message)) return;
    bytes -= message.content.length;
    if (error) message.reject(error);
    else message.resolve();
    if (roomWaiters.length > 0 && hasRoom()) {
      const waiters = roomWaiters;
      roomWaiters = [];
      for (const resolve of waiters) resolve();
    }
    if (unconfirmed.size === 0) idle?.();
  }

  function settleAll(error: Error) {
    for (const message of [...unconfirmed]) settle(message, error);
  }

  /** A return names no delivery tag. Those with the same id and target come back in the order in which they went out. */
  function markUnroutable({ fields, properties }: AmqpMessage) {
    for (const message of unconfirmed) {
      if (
        message.options.messageId === properties.messageId && !message.unroutable &&
        message.exchange === fields.exchange && message.routingKey === fields.routingKey
      ) {
        message.unroutable = true;
        return;
      }
    }
  }

  const hasRoom = () => unconfirmed.size < WINDOW_MESSAGES && bytes < WINDOW_BYTES;

  function send(message: Unconfirmed) {
    message.unroutable = false;
    try {
      channel!.publish(
        message.exchange,
        message.routingKey,
        message.content,
        message.options,
        (error) => {
          // How amqplib fails what is unconfirmed on a channel that closes: no answer yet, it goes out again on the next one.
          if (error?.message === "channel closed") return;
          if (error) {
            settle(message, new Error("Cannot publish: the broker refused the message (nack)"));
          } else if (message.unroutable) {
            settle(message, new Error(unroutable(message)));
          } else settle(message);
        },
      );
    } catch (error) {
      // A closing channel throws; the next one sends it. Anything else is about this message.
      if ((error as Error).name === "IllegalOperationError") return;
      settle(message, new Error(`Cannot publish: ${(error as Error).message}`));
    }
  }

  // One timer for all: they were put in in the order of their deadlines.
  const timer = setInterval(() => {
    const now = Date.now();
    for (const message of unconfirmed) {
      if (message.deadline > now) break;
      const why = broker.blocked
        ? " (it has blocked publishers, being short of memory or disk)"
        : "";
      settle(message, new Error(`Cannot publish: no confirm within ${timeout / 1000} s${why}`));
    }
  }, Math.min(timeout, 250));

  const disposed = new AbortController();
  const closed = Promise.withResolvers<void>();
  const opened = new Promise<true>((resolve, reject) => {
    keepChannel(broker, {
      open: broker.createConfirmChannel,
      async setUp(opened) {
        opened.on("return", markUnroutable);
        await declare?.(opened);
        channel = opened;
        for (const message of unconfirmed) send(message);
        resolve(true);
      },
      closed(error) {
        channel = undefined;
        // The broker does not say which message was at fault; none of them is confirmed.
        if (error) settleAll(new Error(`Cannot publish: ${brokerText(error)}`));
        if (signal?.aborted) settleAll(signal.reason);
      },
      signal: disposed.signal,
    }).then(closed.resolve, (error) => {
      failure = new Error(`Cannot publish: ${error.message}`);
      settleAll(failure);
      clearInterval(timer);
      closed.resolve();
      reject(failure);
    });
  });
  const aborted = new Promise<undefined>((resolve) => {
    signal?.addEventListener("abort", () => {
      if (!channel) settleAll(signal.reason);
      resolve(undefined);
    }, { once: true });
  });
  if (!await (signal ? Promise.race([opened, aborted]) : within(timeout, opened))) {
    disposed.abort();
    clearInterval(timer);
    signal?.throwIfAborted();
    throw new Error(`Cannot publish: ${broker.name} opens no channel within ${timeout / 1000} s`);
  }

  return {
    publish({ exchange = "", routingKey, body, properties }) {
      if (failure) return Promise.reject(failure);
      const content = typeof body === "string"
        ? Buffer.from(body)
        : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
      const options = {
        persistent: true,
        mandatory: true,
        messageId: crypto.randomUUID(),
        timestamp: Math.floor(Date.now() / 1000),
        ...properties,
      };
      return new Promise((resolve, reject) => {
        const deadline = Date.now() + timeout;
        const message = {
          exchange,
          routingKey,
          content,
          options,
          deadline,
          unroutable: false,
          resolve,
          reject,
        };
        unconfirmed.add(message);
        bytes += content.length;
        if (channel) send(message);
      });
    },
    ready: () => hasRoom() ? undefined : new Promise((resolve) => roomWaiters.push(resolve)),
    async [Symbol.asyncDispose]() {
      if (unconfirmed.size > 0) {
        const settled = new Promise<void>((resolve) => idle = resolve);
        await during(`waiting for ${unconfirmed.size} confirms`, settled);
      }
      disposed.abort();
      clearInterval(timer);
      await closed.promise;
    },
  };
}

function unroutable({ exchange, routingKey }: Unconfirmed): string {
  return exchange === ""
    ? `Cannot publish: there is no queue '${routingKey}'`
    : `Cannot publish: no queue is bound to exchange '${exchange}' for routing key '${routingKey}'`;
}
