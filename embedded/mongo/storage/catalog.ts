/**
 * Which databases, collections and indexes there are. The tables `collections` and `indexes` hold it; this keeps it
 * in memory.
 * @module
 */
import { type Binary, UUID } from "bson";
import { CommandError } from "../errors.ts";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { Collection, refuseView } from "./collection.ts";
import { Engine } from "./engine.ts";
import { makeIndex } from "./index.ts";
import { checkIndexSpec, existingIndex } from "./index_definition.ts";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS collections (
  id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT NOT NULL, name TEXT NOT NULL, options BLOB NOT NULL,
  UNIQUE (db, name));
CREATE TABLE IF NOT EXISTS indexes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL, spec BLOB NOT NULL,
  multikey INTEGER NOT NULL);
`;
const FORMAT = 1;
/** Where the stored options hold the UUID of their collection; no option has this name. */
const UUID_FIELD = "$uuid";

/** All that is stored. */
export class Catalog {
  readonly engine: Engine;
  #collections = new Map<string, Collection>();

  /**
   * @param file SQLite file; absent: in memory
   * @throws Error when the file cannot be opened or is not a store's
   */
  constructor(file?: string) {
    this.engine = new Engine(file, () => this.#load());
    const version = Number(this.engine.get("PRAGMA user_version")!.user_version);
    if (version > FORMAT) {
      this.engine.close();
      throw new Error(`Cannot open the store's file ${file}: its format ${version} is newer`);
    }
    try {
      if (version < FORMAT) {
        this.engine.define(`${SCHEMA}; PRAGMA user_version = ${FORMAT}`);
        this.engine.flush();
      }
      this.#load();
    } catch (error) {
      this.engine.close();
      throw new Error(`Cannot open the store's file ${file}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Read everything; also after a rollback, when what is in memory may never have reached the file. */
  #load(): void {
    const listeners = new Map(this.list().map(({ id, insertListeners }) => [id, insertListeners]));
    this.#collections.clear();
    const byId = new Map<number, Collection>();
    for (const row of this.engine.all("SELECT * FROM collections ORDER BY id")) {
      // The UUID lies with the options; a file of an earlier version may lack it.
      const { [UUID_FIELD]: uuid = new UUID(), ...options } = decode(row.options as Uint8Array);
      const [id, db, name] = [Number(row.id), String(row.db), String(row.name)];
      const collection = new Collection(
        this.engine,
        id,
        db,
        name,
        options,
        uuid as Binary,
        listeners.get(id),
      );
      this.#collections.set(collection.ns, collection);
      byId.set(id, collection);
    }
    for (const row of this.engine.all("SELECT * FROM indexes ORDER BY id")) {
      const spec = decode(row.spec as Uint8Array);
      byId.get(Number(row.collection))?.indexes.push(
        makeIndex(Number(row.id), spec as never, Number(row.multikey) === 1),
      );
    }
  }

  /** A collection that exists. */
  find(db: string, name: string): Collection | undefined {
    return this.#collections.get(`${db}.${name}`);
  }

  /** All collections, of one database if named. */
  list(db?: string): Collection[] {
    const all = [...this.#collections.values()];
    return db === undefined ? all : all.filter((collection) => collection.db === db);
  }

  /** Names of the databases that have a collection. */
  databases(): string[] {
    return [...new Set(this.list().map((collection) => collection.db))].sort();
  }

  /** A collection, made if it does not exist, as a first write does. */
  ensure(db: string, name: string): Collection {
    const known = this.find(db, name);
    if (known) refuseView(known);
    return known ?? this.create(db, name, {});
  }

  /**
   * Make a collection.
   * @throws CommandError InvalidNamespace, NamespaceExists
   */
  create(db: string, name: string, options: Doc): Collection {
    checkNamespace(db, name);
    if (this.find(db, name)) {
      throw new CommandError(
        "NamespaceExists",
        `Collection ${db}.${name} already exists.`,
      );
    }
    const uuid = new UUID();
    const id = this.engine.run(
      "INSERT INTO collections (db, name, options) VALUES (?, ?, ?)",
      db,
      name,
      encode({ ...options, [UUID_FIELD]: uuid }),
    ).lastInsertRowid;
    const collection = new Collection(this.engine, id, db, name, options, uuid);
    this.engine.define(
      `CREATE TABLE ${collection.table} (rid INTEGER PRIMARY KEY, k BLOB NOT NULL UNIQUE, doc BLOB NOT NULL)`,
    );
    this.#collections.set(collection.ns, collection);
    return collection;
  }

  /** Remove a collection with its indexes. */
  drop(collection: Collection): void {
    for (const index of collection.indexes) this.engine.forget(index.table);
    this.engine.forget(collection.table);
    for (const index of collection.indexes) this.engine.define(`DROP TABLE ${index.table}`);
    this.engine.define(`DROP TABLE ${collection.table}`);
    this.engine.run("DELETE FROM indexes WHERE collection = ?", collection.id);
    this.engine.run("DELETE FROM collections WHERE id = ?", collection.id);
    this.#collections.delete(collection.ns);
  }

  /** Give a collection another name in the same or another database. */
  rename(collection: Collection, db: string, name: string): void {
    checkNamespace(db, name);
    this.engine.run(
      "UPDATE collections SET db = ?, name = ? WHERE id = ?",
      db,
      name,
      collection.id,
    );
    const { id, options, indexes, engine, uuid } = collection;
    this.#collections.delete(collection.ns);
    const renamed = new Collection(engine, id, db, name, options, uuid);
    renamed.indexes.push(...indexes);
    this.#collections.set(renamed.ns, renamed);
  }

  /**
   * Make an index and fill it.
   * @returns false when an equal one exists
   * @throws CommandError CannotCreateIndex and others; DuplicateKey when documents there conflict
   */
  createIndex(collection: Collection, request: Doc): boolean {
    const spec = checkIndexSpec(request, collection);
    if (existingIndex(collection, spec)) return false;
    const id = this.engine.run(
      "INSERT INTO indexes (collection, spec, multikey) VALUES (?, ?, 0)",
      collection.id,
      encode(spec as unknown as Doc),
    ).lastInsertRowid;
    const index = makeIndex(id, spec, false);
    this.engine.define(
      `CREATE TABLE ${index.table} (key BLOB NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY (key, rid)) WITHOUT ROWID`,
    );
    collection.indexes.push(index);
    try {
      collection.fill(index);
    } catch (error) {
      // After an error of the storage there is nothing to undo: all of it is rolled back.
      if (error instanceof CommandError) this.dropIndex(collection, index.spec.name);
      throw error;
    }
    return true;
  }

  /** Remove an index by name; false when there is none of that name. */
  dropIndex(collection: Collection, name: string): boolean {
    const at = collection.indexes.findIndex((index) => index.spec.name === name);
    if (at < 0) return false;
    const index = collection.indexes[at]!;
    this.engine.forget(index.table);
    this.engine.define(`DROP TABLE ${index.table}`);
    this.engine.run("DELETE FROM indexes WHERE id = ?", index.id);
    collection.indexes.splice(at, 1);
    return true;
  }

  /** Store changed options of a collection (`collMod`). */
  saveOptions(collection: Collection, options: Doc): void {
    this.engine.run(
      "UPDATE collections SET options = ? WHERE id = ?",
      encode({ ...options, [UUID_FIELD]: collection.uuid }),
      collection.id,
    );
    collection.options = options;
  }

  /** Store a changed specification of an index (`collMod`). */
  saveIndex(index: { id: number; spec: unknown }): void {
    this.engine.run(
      "UPDATE indexes SET spec = ? WHERE id = ?",
      encode(index.spec as Doc),
      index.id,
    );
  }
}

/** Throw InvalidNamespace for a name that the server does not take. */
function checkNamespace(db: string, name: string): void {
  checkDatabase(db);
  const wrong = (why: string) =>
    new CommandError("InvalidNamespace", `Invalid namespace specified '${db}.${name}'${why}`);
  if (name === "") throw wrong("");
  if (name.includes("\0") || name.startsWith(".") || name.endsWith(".")) throw wrong("");
  if (name.includes("$")) {
    throw new CommandError("InvalidNamespace", `Invalid collection name: ${name}`);
  }
  if (name.startsWith("system.")) {
    throw new CommandError("InvalidNamespace", `cannot write to '${db}.${name}'`);
  }
  if (db.length + name.length + 1 > 255) {
    throw new CommandError(
      "InvalidNamespace",
      `Fully qualified namespace is too long. Namespace: ${db}.${name} Max: 255`,
    );
  }
}

/** Throw InvalidNamespace for a database name that the server does not take. */
export function checkDatabase(db: string): void {
  if (db === "" || db.length > 63 || /[\/\\. "$\0]/.test(db)) {
    throw new CommandError("InvalidNamespace", `Invalid database name: '${db}'`);
  }
}
