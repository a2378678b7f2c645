/**
 * The outbox: a message is stored in the transaction that stores what it tells of, and published afterwards, however often the broker or
 * this process goes away (https://microservices.io/patterns/data/transactional-outbox.html).
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import type { Broker, Channel } from "../broker.ts";
import type { Log } from "../log.ts";
import { gauge } from "../metrics.ts";
import { createPublisher, type Outgoing } from "../publish.ts";
import { currentTrace, traceOf } from "../trace.ts";
import { aborted, pause } from "../wait.ts";
import { patience, transaction } from "./sqlite.ts";

/** A message that the broker has not confirmed yet. */
export interface OutboxRow {
  /** Rows are numbered in the order in which they were added. */
  number: number;
  /** What was added. */
  event: string;
  /** The trace that it belongs to, as JSON. */
  trace: string | null;
}

/** The messages that wait for the broker. */
export interface Outbox {
  /**
   * Stores a message; call it within the transaction that stores what the message tells of.
   *
   * @param cause what it belongs to the trace of when nothing is traced, such as the request's headers
   */
  add(event: string, cause?: object): void;
  /** Resolves when the next message is added. */
  added(): Promise<void>;
  /** The oldest messages: 500 at most, and none after the first that brings them to 8 Mi characters. */
  oldest(): OutboxRow[];
  /** Removes messages, durably. */
  remove(rows: readonly OutboxRow[]): void;
  /** How many messages wait. */
  size(): number;
}

/** How to publish an outbox. */
export interface PublishOptions {
  /** Makes the message of what was added. */
  messageOf: (event: string) => Outgoing;
  /** Declares exchanges and queues; runs again on every new channel, and when a message was not published: a queue may have been deleted. */
  declare: (channel: Channel) => Promise<unknown>;
  /** Ends it. */
  signal: AbortSignal;
  /** Is told when publishing fails, and when it works again. */
  log: Log;
}

/** Most messages that are on their way to the broker at once, and characters after which no further one is added. */
const BATCH_MESSAGES = 500;
const BATCH_SIZE = 8 * 2 ** 20;
/** Milliseconds before messages are published again. */
const RETRY = 1000;

/** Returns the outbox that a database holds; its table is created when missing. */
export function outboxOf(database: DatabaseSync): Outbox {
  createTable(database);
  const insert = database.prepare("INSERT INTO outbox (event, trace) VALUES (?, ?)");
  const oldest = database.prepare(
    "SELECT number, event, trace FROM outbox ORDER BY number LIMIT ?",
  );
  const count = database.prepare("SELECT count(*) AS count FROM outbox");
  const remove = database.prepare("DELETE FROM outbox WHERE number = ?");

  let addition = Promise.withResolvers<void>();
  return {
    add(event, cause) {
      const trace = currentTrace(cause);
      insert.run(event, trace.traceparent ? JSON.stringify(trace) : null);
      addition.resolve();
      addition = Promise.withResolvers();
    },
    added: () => addition.promise,
    oldest() {
      const rows: OutboxRow[] = [];
      let read = 0;
      for (
        const row of oldest.iterate(BATCH_MESSAGES) as Iterable<unknown> as Iterable<OutboxRow>
      ) {
        rows.push(row);
        read += row.event.length;
        if (read >= BATCH_SIZE) break;
      }
      return rows;
    },
    remove(rows) {
      transaction(database, () => {
        for (const { number } of rows) remove.run(number);
      });
    },
    size: () => Number(count.get()!.count),
  };
}

/** Serves how many messages wait (`event_sink_outbox_messages`), until it is disposed. */
export function measureOutbox(outbox: Outbox): Disposable {
  return gauge("event_sink_outbox_messages", "Messages in the outbox", outbox.size);
}

/** Databases of earlier versions have no traces. */
function createTable(database: DatabaseSync): void {
  const columns = "number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, trace TEXT";
  database.exec(`CREATE TABLE IF NOT EXISTS outbox (${columns})`);
  const existing = database.prepare("SELECT name FROM pragma_table_info('outbox')").all();
  if (existing.some(({ name }) => name === "trace")) return;
  database.exec("ALTER TABLE outbox ADD COLUMN trace TEXT");
}

/** The message of a row, in the trace of what has added it. */
function outgoing(row: OutboxRow, messageOf: PublishOptions["messageOf"]): Outgoing {
  const message = messageOf(row.event);
  if (row.trace === null) return message;
  const { properties } = message;
  const trace = traceOf(JSON.parse(row.trace));
  const headers = { ...properties?.headers, ...trace };
  return { ...message, properties: { ...properties, headers } };
}

/**
 * Publishes what is in the outbox, and what is added, until the signal aborts. A message leaves the outbox when the broker has confirmed it;
 * one that it does not take holds up no other.
 *
 * @throws when the broker refuses the declaration, or the connection was given up
 */
export async function publishOutbox(
  broker: Broker,
  outbox: Outbox,
  { messageOf, declare, signal, log }: PublishOptions,
): Promise<void> {
  const stopped = aborted(signal);
  const patiently = patience({ signal, log });
  let failing = false;
  while (!signal.aborted) {
    await using publisher = await createPublisher(broker, { declare, signal });
    let failure: Error | undefined;
    while (!failure && !signal.aborted) {
      const added = outbox.added();
      const rows = await patiently(outbox.oldest);
      const confirmed: OutboxRow[] = [];
      await Promise.all(rows.map(async (row) => {
        try {
          await publisher.publish(outgoing(row, messageOf));
          confirmed.push(row);
        } catch (error) {
          failure = error as Error;
        }
      }));
      if (confirmed.length > 0) await patiently(() => outbox.remove(confirmed));
      if (rows.length === 0) await Promise.race([added, stopped]);
      else if (!failure && failing) log.info("The outbox is published again");
      failing &&= failure !== undefined || rows.length === 0;
    }
    if (signal.aborted) return;
    if (!failing) log.warn(`${failure!.message}. The outbox waits`);
    failing = true;
    await pause(RETRY, signal);
  }
}
