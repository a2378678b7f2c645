/**
 * The outbox: a message is stored in the transaction that stores what it tells of, and published afterwards, however often the broker or
 * this process goes away (https://microservices.io/patterns/data/transactional-outbox.html).
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import {
  aborted,
  type Broker,
  createPublisher,
  type Log,
  type Outgoing,
  pause,
} from "@event-sink/lib";
import { transaction } from "./sqlite.ts";

/** A message that the broker has not confirmed yet. */
export interface OutboxRow {
  /** Rows are numbered in the order in which they were added. */
  number: number;
  /** What was added. */
  event: string;
}

/** The messages that wait for the broker. */
export interface Outbox {
  /** Stores a message; call it within the transaction that stores what the message tells of. */
  add(event: string): void;
  /** Resolves when the next message is added. */
  added(): Promise<void>;
  /** The oldest messages, `limit` at most. */
  oldest(limit: number): OutboxRow[];
  /** Removes messages, durably. */
  remove(rows: readonly OutboxRow[]): void;
  /** How many messages wait. */
  size(): number;
}

/** How to publish an outbox. */
export interface PublishOptions {
  /** Makes the message of what was added. */
  messageOf: (event: string) => Outgoing;
  /** Declares the queue; runs again on every new channel, and when a message was not published: the queue may have been deleted. */
  declare: () => Promise<unknown>;
  /** Ends it. */
  signal: AbortSignal;
  /** Is told when publishing fails, and when it works again. */
  log: Log;
}

/** Messages that are on their way to the broker at once. */
const BATCH = 500;
/** Milliseconds between two attempts to publish. */
const RETRY = 1000;

/** Returns the outbox that a database holds; its table is created when missing. */
export function outboxOf(database: DatabaseSync): Outbox {
  database.exec(
    "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
  );
  const insert = database.prepare("INSERT INTO outbox (event) VALUES (?)");
  const oldest = database.prepare("SELECT number, event FROM outbox ORDER BY number LIMIT ?");
  const count = database.prepare("SELECT count(*) AS count FROM outbox");
  const remove = database.prepare("DELETE FROM outbox WHERE number = ?");

  let addition = Promise.withResolvers<void>();
  return {
    add(event) {
      insert.run(event);
      addition.resolve();
      addition = Promise.withResolvers();
    },
    added: () => addition.promise,
    oldest: (limit) => oldest.all(limit) as unknown as OutboxRow[],
    remove(rows) {
      transaction(database, () => rows.forEach(({ number }) => remove.run(number)));
    },
    size: () => Number(count.get()!.count),
  };
}

/**
 * Publishes what is in the outbox, and what is added, until the signal aborts. A message leaves the outbox when the broker has confirmed it.
 *
 * @throws when the broker refuses the declaration
 */
export async function publishOutbox(
  broker: Broker,
  outbox: Outbox,
  { messageOf, declare, signal, log }: PublishOptions,
): Promise<void> {
  await using publisher = await createPublisher(broker, { declare, signal });
  const stopped = aborted(signal);
  let failing = false;
  while (!signal.aborted) {
    const added = outbox.added();
    const rows = outbox.oldest(BATCH);
    if (rows.length === 0) {
      await Promise.race([added, stopped]);
      continue;
    }
    const confirmed: OutboxRow[] = [];
    let failure: Error | undefined;
    await Promise.all(rows.map(async (row) => {
      try {
        await publisher.publish(messageOf(row.event));
        confirmed.push(row);
      } catch (error) {
        failure = error as Error;
      }
    }));
    outbox.remove(confirmed);
    if (signal.aborted) return;
    if (failure) {
      if (!failing) log.warn(`${failure.message}. ${outbox.size()} messages wait in the outbox`);
      await pause(RETRY, signal).catch(() => {}); // aborted: the loop ends
      await declare().catch((error) => log.debug(error.message));
    } else if (failing) log.info("The outbox is published again");
    failing = failure !== undefined;
  }
}
