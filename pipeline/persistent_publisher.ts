/**
 * Publishing for services that outlive the broker: a message waits for it as long as it takes.
 * @module
 */
import {
  backoff,
  type Broker,
  type Channel,
  createPublisher,
  type Log,
  type Outgoing,
  pause,
} from "@event-sink/lib";

/** Publishes messages that wait for the broker. Dispose it to close it. */
export interface PersistentPublisher extends AsyncDisposable {
  /**
   * Publishes a message; resolves when the broker has confirmed it, however long it is away. What it does not take is declared and published
   * again, with growing pauses.
   *
   * @throws the last failure, when the broker did not take it at any attempt; the signal's reason, when it aborts
   */
  publish(message: Outgoing): Promise<void>;
  /** Resolves when there is room for another unconfirmed message: await it before you make one, to keep memory flat. */
  room(): Promise<void>;
}

/** How to publish. */
export interface PersistentOptions {
  /** Declares exchanges and queues; runs again on every new channel, and when a message finds no queue. */
  declare: (channel: Channel) => Promise<unknown>;
  /** Ends the waiting. */
  signal: AbortSignal;
  /** Is told when publishing fails, and when it works again. */
  log: Log;
  /** How often a message is offered that the broker does not take (5). */
  attempts?: number;
}

/** Milliseconds before a message is published again for the first time. */
const FIRST_PAUSE = 500;

/**
 * Opens a publisher.
 *
 * @throws when the declaration is refused, or when the connection was given up
 */
export async function createPersistentPublisher(
  broker: Broker,
  { declare, signal, log, attempts = 5 }: PersistentOptions,
): Promise<PersistentPublisher> {
  const publisher = await createPublisher(broker, { declare, signal });
  let failing = false;
  let declaring: Promise<void> | undefined;

  async function declareAgain(): Promise<void> {
    const channel = await broker.createChannel();
    channel.on("error", () => {}); // declare() rejects with it
    try {
      await declare(channel);
    } finally {
      await channel.close().catch(() => {}); // the error has closed it
    }
  }
  return {
    async room() {
      for (let room = publisher.ready(); room; room = publisher.ready()) await room;
    },
    async publish(message) {
      for (let attempt = 1; true; attempt++) {
        try {
          await publisher.publish(message);
          if (failing) log.info("Messages are published again");
          failing = false;
          return;
        } catch (error) {
          if (signal.aborted || attempt >= attempts) throw error;
          if (!failing) log.warn(`${(error as Error).message}. Trying again`);
          failing = true;
        }
        await pause(backoff(attempt, { first: FIRST_PAUSE }), signal);
        declaring ??= declareAgain().catch((error) => log.debug(error.message))
          .finally(() => declaring = undefined);
        await declaring;
      }
    },
    [Symbol.asyncDispose]: () => publisher[Symbol.asyncDispose](),
  };
}
