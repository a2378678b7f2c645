/**
 * Publishing: sent means confirmed by the broker.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Options } from "amqplib";
import type { Broker, Channel } from "./broker.ts";
import { type Confirms, keepConfirms } from "./confirms.ts";
import { watch } from "./health.ts";
import { measureUnconfirmed, publisherCounts } from "./messaging_metrics.ts";
import { counted } from "./text.ts";
import { tracedPublish } from "./trace.ts";
import { createWindow, type Window } from "./unconfirmed.ts";
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
  /** Whether it is published until it is taken when the broker refuses it (nack), rather than three times (true, unless there is a timeout). */
  patient?: boolean;
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
   * it (nack) three times or did not confirm it in time
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
  const confirms = keepConfirms(broker, window, { declare, signal });
  const watching = setInterval(
    watchman(broker, window, confirms, { timeout, signal }),
    Math.min(timeout, 250),
  );
  const measured = measureUnconfirmed(() => window.messages.size);
  const part = watch({ name: "publisher", trouble: () => troubleOf(window, confirms) });
  async function close() {
    clearInterval(watching);
    measured[Symbol.dispose]();
    part[Symbol.dispose]();
    await confirms.close();
  }

  let open: unknown;
  try {
    const opened = timeout === Infinity ? confirms.opened : within(timeout, confirms.opened);
    open = await Promise.race(signal ? [opened, aborted(signal)] : [opened]);
  } finally {
    if (!open) await close();
  }
  if (!open) {
    signal?.throwIfAborted();
    throw new Error(`Cannot publish: ${broker.name} opens no channel within ${timeout / 1000} s`);
  }

  return {
    publish({ exchange = "", routingKey, body, properties, patient = timeout === Infinity }) {
      if (confirms.failure) return Promise.reject(confirms.failure);
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
      const message = { exchange, routingKey, content, options };
      const publish = () =>
        new Promise<void>((resolve, reject) => {
          const unconfirmed = {
            ...message,
            resolve,
            reject,
            patient,
            sent: 0,
            unroutable: false,
            channelErrors: 0,
            refusals: 0,
          };
          publisherCounts(exchange).sent.value++;
          window.add(unconfirmed);
          confirms.send(unconfirmed);
        });
      return tracedPublish(message, broker.name, publish);
    },
    ready: window.room,
    async [Symbol.asyncDispose]() {
      const { size } = window.messages;
      if (size > 0) await during(`waiting for ${counted(size, "confirm")}`, window.empty());
      await close();
    },
  };
}

/** Why nothing can be published now. */
function troubleOf({ messages }: Window, { failure, offline }: Confirms): string | undefined {
  if (failure) return failure.message;
  if (offline) return "publisher: it has no channel";
  const [oldest] = messages;
  if (!oldest) return undefined;
  const { sent, refusedSince } = oldest;
  const refused = Date.now() - (refusedSince ?? Infinity);
  if (refused > SLOW) {
    return `publisher: the broker refuses a message (nack) for ${Math.floor(refused / 1000)} s`;
  }
  const waited = Date.now() - sent;
  return waited > SLOW ? `publisher: no confirm for ${Math.floor(waited / 1000)} s` : undefined;
}

/** Returns what looks after the messages from time to time: fails those that wait for too long, or says that they wait. */
function watchman(
  broker: Broker,
  window: Window,
  confirms: Confirms,
  { timeout, signal }: { timeout: number; signal?: AbortSignal },
): () => void {
  let stopping = Infinity;
  let told = false;

  function why(): string {
    if (confirms.offline) return " (there is no connection)";
    return broker.blocked ? ` (it has blocked publishers: ${broker.blocked})` : "";
  }
  return () => {
    const now = Date.now();
    if (signal?.aborted) stopping = Math.min(stopping, now);
    if (now - stopping > LAST_CONFIRMS) return window.fail(signal!.reason);
    const [oldest] = window.messages;
    if (!oldest) return void (told = false);
    const waited = now - (confirms.offline ?? oldest.sent);
    if (waited > timeout) {
      const error = new Error(`Cannot publish: no confirm within ${timeout / 1000} s${why()}`);
      for (const message of [...window.messages]) {
        // They stand in the order in which they went out.
        if (!confirms.offline && now - message.sent <= timeout) break;
        window.settle(message, error);
      }
    } else if (waited > SLOW && !confirms.offline && !told) {
      told = true;
      const seconds = Math.floor(waited / 1000);
      broker.log.warn(`No confirm from ${broker.name} for ${seconds} s${why()}. Waiting`);
    }
  };
}
