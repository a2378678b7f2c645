/**
 * Datagen's objects in SQLite. An object and the event that tells of it are stored in one transaction.
 * @module
 */
import type { Event, PipelineObject } from "../event.ts";

import { groupCommits, openDatabase, type Outbox, outboxOf } from "@event-sink/lib/outbox";

/** Objects, as JSON, and how to go on. */
export interface Page {
  /** Newest first. */
  objects: string[];
  /** Id of the last object of this page when there are further ones. */
  next: string | undefined;
}

/** The store. Dispose it to close it. */
export interface ObjectStore extends Disposable {
  /** The events that the broker has not confirmed yet. */
  readonly outbox: Outbox;
  /** Stores objects and their events, durably, all or none; returns the objects as JSON. */
  add(objects: readonly { object: PipelineObject; event: Event }[]): Promise<string[]>;
  /**
   * The newest objects, or those that are older than the one with the id `after`: `limit` at most, and none after the first that brings their
   * contents to `bytes`. Undefined when there is no object with that id.
   */
  list(range: { limit: number; bytes: number; after: string | undefined }): Page | undefined;
  /** The object with this id, as JSON. */
  get(id: string): string | undefined;
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
  const write = groupCommits(database);
  const insert = database.prepare("INSERT INTO objects (id, name, content) VALUES (?, ?, ?)");
  const older = database.prepare(
    "SELECT id, name, content FROM objects WHERE number < ? ORDER BY number DESC LIMIT ?",
  );
  const numberOf = database.prepare("SELECT number FROM objects WHERE id = ?");
  const byId = database.prepare("SELECT id, name, content FROM objects WHERE id = ?");

  return {
    outbox,
    async add(objects) {
      const rows = objects.map(({ object, event }) => {
        const row = { ...object, content: JSON.stringify(object.content) };
        return { row, event: JSON.stringify(event) };
      });
      const size = rows.reduce((size, { event }) => size + event.length, 0);
      await write(() => {
        for (const { row, event } of rows) {
          insert.run(row.id, row.name, row.content);
          outbox.add(event);
        }
      }, size);
      return rows.map(({ row }) => textOf(row));
    },
    list({ limit, bytes, after }) {
      const before = after === undefined ? Number.MAX_SAFE_INTEGER : numberOf.get(after)?.number;
      if (before === undefined) return undefined;
      const objects: string[] = [];
      let size = 0;
      let last: string | undefined;
      // One more than asked for tells whether there are further ones.
      for (const row of older.iterate(before as number, limit + 1) as Iterable<unknown>) {
        if (objects.length === limit || size >= bytes) return { objects, next: last };
        const { id, name, content } = row as Row;
        objects.push(textOf({ id, name, content }));
        size += content.length;
        last = id;
      }
      return { objects, next: undefined };
    },
    get(id) {
      const row = byId.get(id);
      return row && textOf(row as unknown as Row);
    },
    [Symbol.dispose]: () => database.close(),
  };
}

interface Row {
  id: string;
  name: string;
  /** JSON. */
  content: string;
}

function textOf({ id, name, content }: Row): string {
  return `{"id":${JSON.stringify(id)},"name":${JSON.stringify(name)},"content":${content}}`;
}
