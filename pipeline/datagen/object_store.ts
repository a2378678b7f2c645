/**
 * Datagen's objects in SQLite, with the outbox: an object and the event that tells of it are stored in one transaction.
 * @module
 */
import type { Event, PipelineObject } from "../event.ts";
import { openDatabase, transaction } from "../service/sqlite.ts";

/** An event that the broker has not confirmed yet. */
export interface OutboxRow {
  number: number;
  event: string;
}

/** The store. Dispose it to close it. */
export interface ObjectStore extends Disposable {
  /** Stores objects and their events, durably, all or none. */
  add(objects: readonly { object: PipelineObject; event: Event }[]): void;
  /** The newest objects, newest first. */
  list(limit: number): PipelineObject[];
  get(id: string): PipelineObject | undefined;
  /** The oldest events of the outbox. */
  unpublished(limit: number): OutboxRow[];
  /** Resolves when something is added. */
  added(): Promise<void>;
  /** How many events are in the outbox. */
  backlog(): number;
  /** Takes events out of the outbox. */
  published(rows: readonly OutboxRow[]): void;
}

/**
 * Opens the store in a file, created when missing.
 *
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openObjectStore(file: string): ObjectStore {
  const database = openDatabase(
    file,
    `CREATE TABLE IF NOT EXISTS objects (
      number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, content TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)`,
  );
  const insertObject = database.prepare("INSERT INTO objects (id, name, content) VALUES (?, ?, ?)");
  const insertEvent = database.prepare("INSERT INTO outbox (event) VALUES (?)");
  const newest = database.prepare(
    "SELECT id, name, content FROM objects ORDER BY number DESC LIMIT ?",
  );
  const byId = database.prepare("SELECT id, name, content FROM objects WHERE id = ?");
  const oldestEvents = database.prepare("SELECT number, event FROM outbox ORDER BY number LIMIT ?");
  const countEvents = database.prepare("SELECT count(*) AS count FROM outbox");
  const deleteEvent = database.prepare("DELETE FROM outbox WHERE number = ?");

  let addition = Promise.withResolvers<void>();
  return {
    add(objects) {
      transaction(database, () => {
        for (const { object, event } of objects) {
          insertObject.run(object.id, object.name, JSON.stringify(object.content));
          insertEvent.run(JSON.stringify(event));
        }
      });
      addition.resolve();
      addition = Promise.withResolvers();
    },
    added: () => addition.promise,
    list: (limit) => newest.all(limit).map(objectOf),
    get(id) {
      const row = byId.get(id);
      return row && objectOf(row);
    },
    unpublished: (limit) => oldestEvents.all(limit) as unknown as OutboxRow[],
    backlog: () => Number(countEvents.get()!.count),
    published(rows) {
      transaction(database, () => {
        for (const { number } of rows) deleteEvent.run(number);
      });
    },
    [Symbol.dispose]: () => database.close(),
  };
}

function objectOf(row: Record<string, unknown>): PipelineObject {
  return { id: String(row.id), name: String(row.name), content: JSON.parse(String(row.content)) };
}
