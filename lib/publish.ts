/**
 * Publishing: sent means confirmed by the broker.
 * @module
 */
import { Buffer } from "node:buffer";
import type { ConfirmChannel, Message as AmqpMessage, Options } from "amqplib";
import { type Broker, brokerText, type Channel } from "./broker.ts";
import { keepChannel } from "./channel.ts";
import { createWindow, type Unconfirmed } from "./unconfirmed.ts";
import { aborted, during, within } from "./wait.ts";

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
   * When the connection breaks or the broker closes the channel, what is unconfirmed is published again with the same `messageId`: at
   * least once.
   *
   * @throws when no queue took it, or the broker closed three channels while it was unconfirmed; with a timeout also when the broker refused
   * it or did not confirm it in time
   */
  publish(message: Outgoing): Promise<void>;
  /** Undefined when there is room for another unconfirmed message, else a promise of room: await it to keep memory flat. */
  ready(): Promise<void> | undefined;
}

/** How to publish. */
export interface PublisherOptions {
  /** Declares exchanges and queues; runs again on every new channel. */
  declare?: (channel: Channel) => Promise<unknown>;
  /**
   * Milliseconds to wait for a confirm, and for a connection after an outage. By default there is no limit, and a line in the log says what
   * is waited for; a message that the broker refuses (nack), as its disk or the queue is full, is then published again until it is taken.
   */
  timeout?: number;
  /** When it aborts, what is unconfirmed has five seconds left; without a connection it is rejected at once. */
  signal?: AbortSignal;
}

/** Milliseconds without a confirm after which a line says so. */
const SLOW = 10_000;

/** Milliseconds until a message goes out again that the broker has refused. */
const REFUSED = 1000;

/** Channel errors after which a message is not published again. */
const CHANNEL_ERRORS = 3;

/** Milliseconds that confirms may take once the signal has aborted. */
const LAST_CONFIRMS = 5000;

/**
 * Opens a publisher.
 *
 * @throws when the declaration is refused, when the connection was given up, or when no channel opens in time
 */
export async function createPublisher(
  broker: Broker,
  { declare, timeout = Infinity, signal }: PublisherOptions = {},
): Promise<Publisher> {
  signal?.throwIfAborted();
  const window = createWindow();
  let channel: ConfirmChannel | undefined;
  let failure: Error | undefined;
  /** Since when there is no channel, and since when the signal has aborted. */
  let offline = Date.now();
  let stopping = Infinity;
  let told = false;

  function send(message: Unconfirmed) {
    clearTimeout(message.again);
    message.sent = Date.now();
    message.unroutable = false;
    const { exchange, routingKey, content, options } = message;
    try {
      channel!.publish(exchange, routingKey, content, options, (error) => {
        // amqplib's error for what is unconfirmed when a channel closes: it is sent again on the next one.
        if (error?.message === "channel closed") return;
        if (error) refused(message);
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
  /** A full disk or queue may have room again: whoever waits through outages waits for that too. */
  function refused(message: Unconfirmed) {
    const text = "the broker refused the message (nack)";
    if (timeout < Infinity) return fail(message, text);
    if (!told) broker.log.warn(`Cannot publish: ${text}. Trying again`);
    told = true;
    message.again = setTimeout(() => {
      // Without a channel it goes out on the next one.
      if (channel && window.messages.has(message)) send(message);
    }, REFUSED);
  }
  function fail(message: Unconfirmed, why: string) {
    window.settle(message, new Error(`Cannot publish: ${why}`));
  }

  /** The broker does not say which message it has closed the channel for: each goes out on the next one, until it was there too often. */
  function blame(error: Error) {
    for (const message of [...window.messages]) {
      if (++message.channelErrors >= CHANNEL_ERRORS) fail(message, brokerText(error));
    }
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

  function watch() {
    const now = Date.now();
    if (now - stopping > LAST_CONFIRMS) return window.fail(signal!.reason);
    const [oldest] = window.messages;
    if (!oldest) return void (told = false);
    const waited = now - (channel ? oldest.sent : offline);
    const why = !channel
      ? " (there is no connection)"
      : broker.blocked
      ? ` (it has blocked publishers: ${broker.blocked})`
      : "";
    if (waited > timeout) {
      const error = new Error(`Cannot publish: no confirm within ${timeout / 1000} s${why}`);
      for (const message of [...window.messages]) {
        if (channel && now - message.sent <= timeout) break; // in the order in which they went out
        window.settle(message, error);
      }
    } else if (waited > SLOW && channel && !told) {
      told = true;
      broker.log.warn(`No confirm from ${broker.name} for ${waited / 1000 | 0} s${why}. Waiting`);
    }
  }

  const disposed = new AbortController();
  const opened = Promise.withResolvers<true>();
  opened.promise.catch(() => {}); // nobody waits for it any more when it failed later
  const keeping = keepChannel(broker, {
    open: broker.createConfirmChannel,
    async setUp(opening) {
      opening.on("return", markUnroutable);
      await declare?.(opening);
      channel = opening;
      for (const message of window.messages) send(message);
      opened.resolve(true);
    },
    closed(error) {
      channel = undefined;
      offline = Date.now();
      if (error) blame(error);
      if (signal?.aborted) window.fail(signal.reason);
    },
    signal: disposed.signal,
  }).catch((error) => {
    failure = new Error(`Cannot publish: ${error.message}`);
    window.fail(failure);
    opened.reject(failure);
  });
  const watching = setInterval(watch, Math.min(timeout, 250));
  const onAbort = () => {
    stopping = Date.now();
    if (!channel) window.fail(signal!.reason);
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  async function close() {
    failure ??= new Error("Cannot publish: the publisher is closed");
    disposed.abort();
    clearInterval(watching);
    signal?.removeEventListener("abort", onAbort);
    await keeping;
  }

  const waiting: Promise<unknown>[] = [
    timeout === Infinity ? opened.promise : within(timeout, opened.promise),
  ];
  if (signal) waiting.push(aborted(signal));
  let open: unknown;
  try {
    open = await Promise.race(waiting);
  } finally {
    if (!open) await close();
  }
  if (!open) {
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
        const message = { exchange, routingKey, content, options, resolve, reject };
        const unconfirmed = { ...message, sent: 0, unroutable: false, channelErrors: 0 };
        window.add(unconfirmed);
        if (channel) send(unconfirmed);
      });
    },
    ready: window.room,
    async [Symbol.asyncDispose]() {
      const { size } = window.messages;
      if (size > 0) await during(`waiting for ${size} confirms`, window.empty());
      await close();
    },
  };
}

function unroutable({ exchange, routingKey }: Unconfirmed): string {
  return exchange === ""
    ? `there is no queue '${routingKey}'`
    : `no queue is bound to exchange '${exchange}' for routing key '${routingKey}'`;
}
