/**
 * One collection: its documents as the bytes that came, by `rid` (the order of insertion) and by the key of `_id`,
 * and its secondary indexes.
 * @module
 */
import type { Binary } from "bson";
import { CommandError } from "../errors.ts";
import { valueAt } from "../language/paths.ts";
import { MAX_DOCUMENT } from "../limits.ts";
import { decode, type Doc } from "../values/bson_view.ts";
import { type Num, toNumber } from "../values/numbers.ts";
import { shellText } from "../values/shell_text.ts";
import { checkSize, withIdFirst } from "./document.ts";
import type { Engine } from "./engine.ts";
import { documentKeys, type Index, rawKeys } from "./index.ts";

/** A stored document. */
export interface Row {
  rid: number;
  doc: Uint8Array;
}

/** A collection in use; made by the catalog. */
export class Collection {
  readonly table: string;
  /** Secondary indexes; that of `_id` is the table's own. */
  readonly indexes: Index[] = [];
  /** How many commands read along `_id`. */
  idReads = 0;
  #count = -1;
  #nextRid = -1;
  /** Bytes of all documents; kept for capped collections only. */
  #bytes = -1;

  constructor(
    readonly engine: Engine,
    readonly id: number,
    readonly db: string,
    public name: string,
    public options: Doc,
    /** Given once, kept through renames. */
    readonly uuid: Binary,
    /** Called after every insert: tailable cursors wait for it. */
    readonly insertListeners: Set<() => void> = new Set(),
  ) {
    this.table = `d_${id}`;
  }

  /** `db.collection`. */
  get ns(): string {
    return `${this.db}.${this.name}`;
  }

  /** Number of documents; counted once, then kept. */
  get count(): number {
    if (this.#count < 0) {
      const row = this.engine.get(`SELECT count(*) AS n FROM ${this.table}`);
      this.#count = Number(row!.n);
    }
    return this.#count;
  }

  #rid(): number {
    if (this.#nextRid < 0) {
      const row = this.engine.get(`SELECT max(rid) AS n FROM ${this.table}`);
      this.#nextRid = Number(row!.n ?? 0) + 1;
    }
    return this.#nextRid++;
  }

  /**
   * Store a new document.
   * @param bytes validated BSON; `_id` is added or moved to the front as the server does
   * @returns the document as stored
   * @throws CommandError DuplicateKey, BSONObjectTooLarge, BadValue
   */
  insert(bytes: Uint8Array): Uint8Array {
    checkSize(bytes.length);
    const { doc, key } = withIdFirst(bytes);
    // Count and rid first: they read the table as it is before this document.
    const count = this.count;
    const rid = this.#rid();
    if (this.indexes.length === 0) {
      if (!this.#put(rid, key, doc)) throw this.#duplicateId(doc);
    } else {
      const entries = this.#entries(doc, undefined);
      this.#checkUnique(entries, rid, doc, key);
      if (!this.#put(rid, key, doc)) throw this.#duplicateId(doc);
      this.#putEntries(entries, rid);
    }
    this.#count = count + 1;
    if (this.capped) this.#evict(doc.length);
    for (const listener of this.insertListeners) listener();
    return doc;
  }

  /** True when the oldest documents make place for new ones. */
  get capped(): boolean {
    return this.options.capped === true;
  }

  /** True for a view, which has a pipeline and no documents of its own. */
  get isView(): boolean {
    return this.options.viewOn !== undefined;
  }

  /** Remove the oldest documents until the collection is within its bounds again. */
  #evict(added: number): void {
    const max = this.options.max === undefined ? Infinity : toNumber(this.options.max as Num);
    const size = toNumber(this.options.size as Num);
    this.#bytes = this.#bytes < 0 ? this.size() : this.#bytes + added;
    while (this.count > 1 && (this.count > max || this.#bytes > size)) {
      const sql = `SELECT rid, doc FROM ${this.table} ORDER BY rid LIMIT 1`;
      const oldest = this.engine.get(sql) as unknown as Row;
      this.remove(oldest);
    }
  }

  #put(rid: number, key: Uint8Array, doc: Uint8Array): boolean {
    const sql = `INSERT OR IGNORE INTO ${this.table} (rid, k, doc) VALUES (?, ?, ?)`;
    return this.engine.run(sql, rid, key, doc).changes === 1;
  }

  #duplicateId(doc: Uint8Array): CommandError {
    return duplicate(this.ns, { name: "_id_", key: { _id: 1 } }, { _id: decode(doc)._id });
  }

  /** The index entries of a document, computed before anything is written. */
  #entries(bytes: Uint8Array, decoded: Doc | undefined): [Index, Uint8Array[]][] {
    return this.indexes.map((index) => {
      const keys = rawKeys(index, bytes) ?? documentKeys(index, decoded ??= decode(bytes));
      return [index, keys];
    });
  }

  #checkUnique(
    entries: [Index, Uint8Array[]][],
    rid: number,
    doc: Uint8Array,
    idKey?: Uint8Array,
  ): void {
    if (idKey && this.findId(idKey)) throw this.#duplicateId(doc);
    for (const [index, keys] of entries) {
      if (!index.spec.unique && !index.spec.prepareUnique) continue;
      const sql = `SELECT rid FROM ${index.table} WHERE key = ? AND rid <> ? LIMIT 1`;
      for (const key of keys) {
        if (this.engine.get(sql, key, rid)) throw this.duplicateIn(index, decode(doc));
      }
    }
  }

  /** The error of a document whose key another document of a unique index has. */
  duplicateIn(index: Index, doc: Doc): CommandError {
    const value: Doc = {};
    for (let i = 0; i < index.fields.length; i++) {
      value[index.fields[i]!] = valueAt(doc, index.paths[i]!) ?? null;
    }
    return duplicate(this.ns, index.spec, value);
  }

  #putEntries(entries: [Index, Uint8Array[]][], rid: number): void {
    for (const [index, keys] of entries) {
      if (keys.length > 1) this.#markMultikey(index);
      for (const key of keys) this.putEntry(index, key, rid);
    }
  }

  #markMultikey(index: Index): void {
    if (index.multikey) return;
    index.multikey = true;
    this.engine.run("UPDATE indexes SET multikey = 1 WHERE id = ?", index.id);
  }

  /** Add one entry to an index. */
  putEntry(index: Index, key: Uint8Array, rid: number): void {
    this.engine.run(`INSERT OR IGNORE INTO ${index.table} (key, rid) VALUES (?, ?)`, key, rid);
  }

  #removeEntries(entries: [Index, Uint8Array[]][], rid: number): void {
    for (const [index, keys] of entries) {
      const sql = `DELETE FROM ${index.table} WHERE key = ? AND rid = ?`;
      for (const key of keys) this.engine.run(sql, key, rid);
    }
  }

  /** Replace a stored document; its `_id` stays. Throws DuplicateKey or 17419 (too large), unchanged then. */
  replace(row: Row, next: Uint8Array, decoded?: Doc): void {
    if (next.length > MAX_DOCUMENT) {
      throw new CommandError(
        "Location17419",
        `Resulting document after update is larger than ${MAX_DOCUMENT}`,
      );
    }
    if (this.indexes.length) {
      const entries = this.#entries(next, decoded);
      this.#checkUnique(entries, row.rid, next);
      this.#removeEntries(this.#entries(row.doc, undefined), row.rid);
      this.#putEntries(entries, row.rid);
    }
    this.engine.run(`UPDATE ${this.table} SET doc = ? WHERE rid = ?`, next, row.rid);
    if (this.#bytes >= 0) this.#bytes += next.length - row.doc.length;
  }

  /** Remove a stored document. */
  remove(row: Row): void {
    const count = this.count;
    if (this.indexes.length) this.#removeEntries(this.#entries(row.doc, undefined), row.rid);
    this.engine.run(`DELETE FROM ${this.table} WHERE rid = ?`, row.rid);
    this.#count = count - 1;
    if (this.#bytes >= 0) this.#bytes -= row.doc.length;
  }

  /** Remove every document, in one statement per table. */
  clear(): number {
    const count = this.count;
    this.engine.run(`DELETE FROM ${this.table}`);
    for (const index of this.indexes) this.engine.run(`DELETE FROM ${index.table}`);
    this.#count = 0;
    this.#bytes = -1;
    return count;
  }

  /** The `_id`s of documents that share a key of an index that is to become unique, key by key. */
  violations(index: Index): unknown[][] {
    const sql =
      `SELECT i.key AS key, d.doc AS doc FROM ${index.table} i JOIN ${this.table} d ON d.rid = i.rid
      WHERE i.key IN (SELECT key FROM ${index.table} GROUP BY key HAVING count(*) > 1)
      ORDER BY i.key, i.rid`;
    const groups = new Map<string, unknown[]>();
    for (const row of this.engine.all(sql)) {
      const key = (row.key as Uint8Array).join();
      const ids = groups.get(key) ?? [];
      ids.push(decode(row.doc as Uint8Array)._id);
      groups.set(key, ids);
    }
    return [...groups.values()];
  }

  /** The document of an `_id` key. */
  findId(key: Uint8Array): Row | undefined {
    const sql = `SELECT rid, doc FROM ${this.table} WHERE k = ?`;
    return this.engine.get(sql, key) as unknown as Row | undefined;
  }

  /** The document of a rid, if it is still there. */
  findRid(rid: number): Row | undefined {
    const sql = `SELECT rid, doc FROM ${this.table} WHERE rid = ?`;
    return this.engine.get(sql, rid) as unknown as Row | undefined;
  }

  /** The first document inserted after that of a rid; 0: the first of all. */
  rowAfter(rid: number): Row | undefined {
    const sql = `SELECT rid, doc FROM ${this.table} WHERE rid > ? ORDER BY rid LIMIT 1`;
    return this.engine.get(sql, rid) as unknown as Row | undefined;
  }

  /** Bytes of all documents together. */
  size(): number {
    const sql = `SELECT coalesce(sum(length(doc)), 0) AS n FROM ${this.table}`;
    return Number(this.engine.get(sql)!.n);
  }

  /**
   * The entries of a new index over the documents that are there.
   * @throws CommandError DuplicateKey; the caller drops the index then
   */
  fill(index: Index): void {
    const other = `SELECT rid FROM ${index.table} WHERE key = ? AND rid <> ? LIMIT 1`;
    const next = `SELECT rid, doc FROM ${this.table} WHERE rid > ? ORDER BY rid LIMIT 64`;
    for (let last = 0;;) {
      const rows = this.engine.all(next, last) as unknown as Row[];
      if (!rows.length) return;
      for (const { rid, doc } of rows) {
        const keys = rawKeys(index, doc) ?? documentKeys(index, decode(doc));
        if (keys.length > 1) this.#markMultikey(index);
        for (const key of keys) {
          if (index.spec.unique && this.engine.get(other, key, rid)) {
            throw this.duplicateIn(index, decode(doc));
          }
          this.putEntry(index, key, rid);
        }
        last = rid;
      }
    }
  }
}

/** Throw CommandNotSupportedOnView where only a collection will do. */
export function refuseView(collection: Collection): void {
  if (!collection.isView) return;
  throw new CommandError(
    "CommandNotSupportedOnView",
    `Namespace ${collection.ns} is a view, not a collection`,
  );
}

/** The error of a document whose key another document of an index has. */
export function duplicate(
  ns: string,
  index: { name: string; key: Doc },
  keyValue: Doc,
): CommandError {
  return new CommandError(
    "DuplicateKey",
    `E11000 duplicate key error collection: ${ns} index: ${index.name} dup key: ${
      shellText(keyValue)
    }`,
    { keyPattern: index.key, keyValue },
  );
}
