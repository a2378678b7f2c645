/**
 * Datagen's objects in SQLite. An object and the event that tells of it are stored in one transaction.
 * @module
 */
import type { Event, PipelineObject } from "../event.ts";
import { type Outbox, outboxOf } from "../service/outbox.ts";
import { openDatabase, transaction } from "../service/sqlite.ts";

/** The store. Dispose it to close it. */
export interface ObjectStore extends Disposable {
  /** The events that the broker has not confirmed yet. */
  readonly outbox: Outbox;
  /** Stores objects and their events, durably, all or none. */
  add(objects: readonly { object: PipelineObject; event: Event }[]): void;
  /** The newest objects, newest first, `limit` at most. */
  list(limit: number): PipelineObject[];
  /** The object with this id. */
  get(id: string): PipelineObject | undefined;
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
      number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, content TEXT NOT NULL)`,
  );
  const outbox = outboxOf(database);
  const insert = database.prepare("INSERT INTO objects (id, name, content) VALUES (?, ?, ?)");
  const newest = database.prepare(
    "SELECT id, name, content FROM objects ORDER BY number DESC LIMIT ?",
  );
  const byId = database.prepare("SELECT id, name, content FROM objects WHERE id = ?");

  return {
    outbox,
    add(objects) {
      transaction(database, () => {
        for (const { object, event } of objects) {
          insert.run(object.id, object.name, JSON.stringify(object.content));
          outbox.add(JSON.stringify(event));
        }
      });
    },
    list: (limit) => newest.all(limit).map(objectOf),
    get(id) {
      const row = byId.get(id);
      return row && objectOf(row);
    },
    [Symbol.dispose]: () => database.close(),
  };
}

function objectOf(row: Record<string, unknown>): PipelineObject {
  return { id: String(row.id), name: String(row.name), content: JSON.parse(String(row.content)) };
}
