/**
 * Durable exchanges, queues, bindings and persistent messages in an SQLite file.
 *
 * Nothing is written as it happens: changes collect and one transaction per turn of the event loop takes them all.
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { makePrivate } from "../../private_files.ts";
import type { Message } from "../message/message.ts";
import type { DeathReason } from "../queue/letters.ts";
import type { Entry, Queue } from "../queue/queue.ts";

/** A durable entity as it is stored; `kind` and `name` tell which. */
export interface Entity {
  kind: "exchange" | "queue" | "binding";
  name: string;
  definition: unknown;
}

/** What tells entities apart. */
export type EntityName = Pick<Entity, "kind" | "name">;

function entityKey({ kind, name }: EntityName): string {
  return `${kind} ${name}`;
}

/** A stored message in a queue, as `load()` yields it. */
export interface StoredEntry {
  /** Row of the message; other than `position` when it has several entries. */
  row: number;
  queue: number;
  expires: number;
  data: Uint8Array;
  /** Bytes of the encoded properties in `data`. */
  properties: number;
  position: number;
  /** 1 when it was dead-lettered. */
  died: 0 | 1;
}

/** What a quorum queue remembers of a message besides it. */
export interface Fate {
  /** How often it came back. */
  returns: number;
  /** Why it died, if it waits to be dead-lettered. */
  death: DeathReason | undefined;
}

// A message in one queue is one row of `message`, whose rowid is its position. One in several queues is a row with queue
// 0 and one row of `entry` for each.
const schema = `
  create table if not exists entity (kind text, name text, definition text not null, primary key (kind, name)) without rowid;
  create table if not exists delivered (queue integer primary key, position integer not null);
  create table if not exists message (
    id integer primary key, queue integer not null, expires integer not null, properties integer not null, data blob not null,
    died integer not null default 0);
  create table if not exists entry (
    position integer primary key, message integer not null, queue integer not null, expires integer not null);
  create table if not exists fate (position integer primary key, returns integer not null, death text);
`;
/** What makes a file of version 1 one of version 2, besides new tables. */
const fromVersion1 = "alter table message add column died integer not null default 0;";

/** Rows read at a time at a restart. */
const loadChunk = 5000;

/** Pages (of 4 KB) that are given back in one step: some milliseconds. */
const shrinkStep = 256;
/** Free pages that the file may keep. */
const spareFree = 1024;

/** Version of the schema, as SQLite's `user_version`. */
const version = 2;

/** The SQLite file of a broker; one process has it open at a time. */
export class Store {
  private readonly db: DatabaseSync;
  private adds: Entry[] = [];
  private removes: number[] = [];
  private removedEntries: number[] = [];
  /** Definitions to be stored, or null for what is to be deleted, by kind and name. */
  private entities = new Map<string, Entity>();
  private moved = new Set<Queue>();
  /** Entries whose fate is to be stored. */
  private fates = new Set<Entry>();
  /** Entries whose fate is to be forgotten. */
  private removedFates: number[] = [];
  private readonly insertMessage: StatementSync;
  private readonly insertEntry: StatementSync;
  private readonly deleteMessages: StatementSync;
  private readonly deleteEntries: StatementSync;
  private readonly setEntity: StatementSync;
  private readonly deleteEntity: StatementSync;
  private readonly setDelivered: StatementSync;
  private readonly insertFate: StatementSync;
  private readonly deleteFates: StatementSync;

  /**
   * @param path Path of the SQLite file; created when absent.
   * @throws Error when it cannot be opened, or another process has it open.
   */
  constructor(readonly path: string) {
    try {
      makePrivate(path);
      this.db = new DatabaseSync(path);
      // Exclusive locking: one broker per file, and WAL without the file of shared memory. Before anything is read.
      this.db.exec("pragma locking_mode = exclusive");
      // Only a file without any page can be told to give pages back later.
      if (this.pragma("page_count") === 0) this.db.exec("pragma auto_vacuum = incremental");
      this.db.exec(`
        pragma journal_mode = wal;
        pragma synchronous = full;
        pragma wal_autocheckpoint = 4000;
        pragma cache_size = -16000;
        pragma journal_size_limit = 16777216;
      `);
      // Written only where it is not there: a start must not need space on a full disk.
      const found = this.pragma("user_version");
      if (found !== version) {
        const change = found === 1 ? fromVersion1 : "";
        this.db.exec(`begin; ${schema} ${change} pragma user_version = ${version}; commit;`);
      }
    } catch (error) {
      throw new Error(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
    }
    const prepare = (sql: string) => this.db.prepare(sql);
    this.insertMessage = prepare("insert into message values (?, ?, ?, ?, ?, ?)");
    this.insertEntry = prepare("insert into entry values (?, ?, ?, ?)");
    this.deleteMessages = prepare("delete from message where id between ? and ?");
    this.deleteEntries = prepare("delete from entry where position between ? and ?");
    this.setEntity = prepare("insert or replace into entity values (?, ?, ?)");
    this.deleteEntity = prepare("delete from entity where kind = ? and name = ?");
    this.setDelivered = prepare("insert or replace into delivered values (?, ?)");
    this.insertFate = prepare("insert or replace into fate values (?, ?, ?)");
    this.deleteFates = prepare("delete from fate where position between ? and ?");
  }

  private pragma(name: string): unknown {
    return Object.values(this.db.prepare(`pragma ${name}`).get()!)[0];
  }

  /** Whether anything waits for a commit. */
  get dirty(): boolean {
    return this.adds.length > 0 || this.removes.length > 0 || this.removedEntries.length > 0 ||
      this.entities.size > 0 || this.moved.size > 0 || this.fates.size > 0;
  }

  /** How many entries wait for a commit. */
  get backlog(): number {
    return this.adds.length + this.removes.length + this.removedEntries.length;
  }

  add(entry: Entry): void {
    entry.stored = 1;
    entry.message.entries++;
    this.adds.push(entry);
  }

  remove(entry: Entry): void {
    const { message, queue } = entry;
    const stored = entry.stored;
    entry.stored = 0;
    message.entries--;
    this.fates.delete(entry);
    if (stored === 1) return; // Never reached the disk: the commit skips it.
    if (entry.returns > 0 || entry.death !== undefined) this.removedFates.push(entry.position);
    if (queue.delivered > queue.deliveredStored) this.moved.add(queue);
    if (message.row === entry.position) this.removes.push(message.row);
    else {
      this.removedEntries.push(entry.position);
      if (message.entries === 0) this.removes.push(message.row);
    }
  }

  /** Store how often an entry came back, and why it died. */
  setFate(entry: Entry): void {
    this.fates.add(entry);
  }

  set(entity: Entity): void {
    this.entities.set(entityKey(entity), entity);
  }

  delete(entity: EntityName): void {
    this.entities.set(entityKey(entity), { ...entity, definition: null });
  }

  /** Whether a change of this entity waits for a commit. */
  isPending(entity: EntityName): boolean {
    return this.entities.has(entityKey(entity));
  }

  /**
   * Write all that has collected, durably.
   * @throws Error when the disk refuses; nothing is written then, and all of it still waits for the next commit
   */
  commit(): void {
    if (!this.dirty) return;
    const { adds, moved } = this;
    try {
      this.db.exec("begin immediate");
      this.writeEntities();
      // Deletions first: what they free can be used at once. None can concern what is inserted below.
      deleteRuns(this.deleteMessages, this.removes);
      deleteRuns(this.deleteEntries, this.removedEntries);
      deleteRuns(this.deleteFates, this.removedFates);
      for (const entry of adds) if (entry.stored === 1) this.insert(entry);
      for (const { position, returns, death } of this.fates) {
        this.insertFate.run(position, returns, death ?? null);
      }
      for (const queue of moved) {
        if (!queue.deleted) this.setDelivered.run(queue.id, queue.delivered);
      }
      this.db.exec("commit");
    } catch (error) {
      this.undo();
      throw error;
    }
    for (const entry of adds) if (entry.stored === 1) entry.stored = 2;
    for (const queue of moved) queue.deliveredStored = queue.delivered;
    this.adds = [];
    this.entities.clear();
    this.removes = [];
    this.removedEntries = [];
    this.removedFates = [];
    this.fates.clear();
    this.moved.clear();
  }

  private writeEntities(): void {
    for (const { kind, name, definition } of this.entities.values()) {
      // As JSON, since SQLite ends a text at a NUL.
      const key = JSON.stringify(name);
      if (definition === null) this.deleteEntity.run(kind, key);
      else this.setEntity.run(kind, key, JSON.stringify(definition));
    }
  }

  /** A commit failed: nothing of it is on disk. */
  private undo(): void {
    // SQLite itself has rolled back after some errors, such as a full disk.
    if (this.db.isTransaction) this.db.exec("rollback");
    // What was settled meanwhile need not be kept: a disk may be full for long.
    this.adds = this.adds.filter(({ stored }) => stored === 1);
    // All entries of a message are added together, so that one to be added has no row of an earlier commit.
    for (const { message } of this.adds) message.row = 0;
  }

  private insert({ message, queue, position, expires }: Entry): void {
    if (message.row === 0) {
      const alone = message.entries === 1;
      // A shared row takes its number from no entry: positions are whole, half ones do not exist, negative ones do.
      message.row = alone ? position : -position;
      this.insertMessage.run(
        message.row,
        alone ? queue.id : 0,
        expires,
        message.propertiesSize,
        message.bytes(),
        message.died ? 1 : 0,
      );
      if (alone) return;
    }
    this.insertEntry.run(position, message.row, queue.id, expires);
  }

  /** The stored entities, in the order exchange, queue, binding. */
  loadEntities(): Entity[] {
    const rows = this.db.prepare(
      "select kind, name, definition from entity order by kind = 'binding', kind, name",
    ).all() as { kind: Entity["kind"]; name: string; definition: string }[];
    return rows.map(({ kind, name, definition }) => ({
      kind,
      name: JSON.parse(name),
      definition: JSON.parse(definition),
    }));
  }

  /** Up to which position each queue's messages have been delivered. */
  loadDelivered(): Map<number, number> {
    const rows = this.db.prepare("select queue, position from delivered").all();
    return new Map(rows.map((row) => [row.queue as number, row.position as number]));
  }

  /** What quorum queues remember, by the position of the message. */
  loadFates(): Map<number, Fate> {
    const rows = this.db.prepare("select position, returns, death from fate").all() as unknown as {
      position: number;
      returns: number;
      death: DeathReason | null;
    }[];
    return new Map(
      rows.map((
        { position, returns, death },
      ) => [position, { returns, death: death ?? undefined }]),
    );
  }

  /** Forget how far a queue was delivered that is no more. */
  dropDelivered(queue: number): void {
    this.db.prepare("delete from delivered where queue = ?").run(queue);
  }

  /** All stored messages, in order of position. What is yielded is valid only until the next one. */
  *load(): Generator<StoredEntry> {
    const alone = rows(this.db.prepare(
      `select id as position, id as row, queue, expires, properties, data, died from message
       where id > max(?, 0) order by id limit ${loadChunk}`,
    ));
    const shared = rows(this.db.prepare(
      `select position, message as row, entry.queue, entry.expires, properties, data, died
       from entry join message on message.id = entry.message
       where position > ? order by position limit ${loadChunk}`,
    ));
    let a = alone.next(), b = shared.next();
    // Two ordered streams, merged.
    while (!a.done || !b.done) {
      if (!a.done && (b.done || a.value.position < b.value.position)) {
        yield a.value;
        a = alone.next();
      } else if (!b.done) {
        yield b.value;
        b = shared.next();
      }
    }
  }

  /** Delete rows that belong to no queue any more: left by a crash after their queue was deleted. */
  forget(entries: StoredEntry[]): void {
    for (const { row, position } of entries) {
      if (row !== position) this.removedEntries.push(position);
      else this.removes.push(position);
    }
    this.commit();
    this.db.exec(
      "delete from message where id < 0 and id not in (select message from entry)",
    );
  }

  /**
   * Give some of the pages that are free back to the disk.
   * @returns whether there are more of them; the last few MB stay, since what comes next would need them again
   * @throws Error when the disk refuses
   */
  shrink(): boolean {
    if (this.pragma("freelist_count") as number <= spareFree) return false;
    // A no-op in a file of an earlier version, which knows no incremental vacuum.
    if (this.pragma("auto_vacuum") !== 2) return false;
    // exec() would free a single page: the pragma frees one whenever it is asked for a row.
    this.db.prepare(`pragma incremental_vacuum(${shrinkStep})`).all();
    if (this.pragma("freelist_count") as number > spareFree) return true;
    // What is in the WAL is moved to the file, which then becomes shorter, and so does the WAL.
    this.db.prepare("pragma wal_checkpoint(truncate)").all();
    return false;
  }

  /** Close the file. What has collected and was not committed is lost. */
  close(): void {
    this.db.close();
  }
}

/** All rows of a statement that takes the last position seen; read in chunks, which is faster than one by one. */
function* rows(statement: StatementSync): Generator<StoredEntry> {
  let last = 0;
  for (;;) {
    const chunk = statement.all(last) as unknown as StoredEntry[];
    yield* chunk;
    if (chunk.length < loadChunk) return;
    last = chunk.at(-1)!.position;
  }
}

/** Delete by ranges: in a queue that is consumed in order they are long. */
function deleteRuns(statement: StatementSync, rows: number[]): void {
  if (rows.length === 0) return;
  rows.sort((a, b) => a - b);
  let first = rows[0]!, last = first;
  for (const row of rows) {
    if (row > last + 1) {
      statement.run(first, last);
      first = row;
    }
    last = row;
  }
  statement.run(first, last);
}

/** A message that is restored keeps what the store knows of it. */
export function adopt(message: Message, row: number, entries: number): void {
  message.row = row;
  message.entries = entries;
}
