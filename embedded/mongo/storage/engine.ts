/**
 * The SQLite connection and its group commit: every write of one turn of the event loop goes into one
 * transaction, and whoever wrote waits for `committed()` before answering.
 * @module
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { clearImmediate, setImmediate } from "node:timers";
import { StorageError } from "../errors.ts";
import { openDatabase } from "./database_file.ts";

/** A row, by the names of its columns. */
export type SqlRow = Record<string, unknown>;

/** One SQLite database, used by one process alone. */
export class Engine {
  #db: DatabaseSync;
  #open = false;
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #timer: ReturnType<typeof setImmediate> | undefined;
  #statements = new Map<string, StatementSync>();
  #closed = false;
  #rollbacks = 0;
  #lastFailure: StorageError | undefined;
  #writes = 0;

  /**
   * @param file SQLite file; absent: in memory
   * @param onRollback called after a transaction was rolled back: what was cached of the data is void
   * @throws Error when the file cannot be opened or another process has it
   */
  constructor(file: string | undefined, private readonly onRollback: () => void) {
    this.#db = openDatabase(file);
  }

  /** How often a transaction was rolled back: what `committed()` compares with. */
  get rollbacks(): number {
    return this.#rollbacks;
  }

  /** How many statements wrote, to tell whether anybody writes. */
  get writes(): number {
    return this.#writes;
  }

  /**
   * Execute a statement that writes, in the transaction of this turn of the event loop.
   * @throws StorageError; the whole transaction is rolled back then
   */
  run(sql: string, ...values: SQLInputValue[]): { changes: number; lastInsertRowid: number } {
    this.#begin();
    this.#writes++;
    try {
      const { changes, lastInsertRowid } = this.#statement(sql).run(...values);
      return { changes: Number(changes), lastInsertRowid: Number(lastInsertRowid) };
    } catch (error) {
      throw this.fail(error);
    }
  }

  /**
   * The first row of a query; undefined when there is none.
   * @throws StorageError
   */
  get(sql: string, ...values: SQLInputValue[]): SqlRow | undefined {
    try {
      return this.#statement(sql).get(...values) as SqlRow | undefined;
    } catch (error) {
      throw this.#readFailed(error);
    }
  }

  /**
   * All rows of a query.
   * @throws StorageError
   */
  all(sql: string, ...values: SQLInputValue[]): SqlRow[] {
    try {
      return this.#statement(sql).all(...values) as SqlRow[];
    } catch (error) {
      throw this.#readFailed(error);
    }
  }

  /**
   * Execute statements that define tables, in the transaction of this turn.
   * @throws StorageError; the whole transaction is rolled back then
   */
  define(sql: string): void {
    this.#begin();
    try {
      this.#db.exec(sql);
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Forget prepared statements on a table that is about to be dropped. */
  forget(table: string): void {
    for (const sql of this.#statements.keys()) {
      if (sql.includes(table)) this.#statements.delete(sql);
    }
  }

  /** Prepared once per text. */
  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  #begin(): void {
    if (this.#open) return;
    this.#db.exec("BEGIN");
    this.#open = true;
    this.#timer = setImmediate(() => this.flush());
  }

  /**
   * Resolves when everything written so far is on disk.
   * @param since `rollbacks` before the first write that the caller answers for. A transaction that took writes of the
   *   caller may be over by now; if one was rolled back in the meantime, this rejects.
   * @throws StorageError when the writes were rolled back
   */
  committed(since: number = this.#rollbacks): Promise<void> {
    if (since !== this.#rollbacks) return Promise.reject(this.#lastFailure);
    if (!this.#open) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Commit now. A failure goes to those who wait, as theirs. */
  flush(): void {
    if (!this.#open) return;
    try {
      this.#db.exec("COMMIT");
    } catch (error) {
      this.fail(error);
      return;
    }
    for (const one of this.#end()) one.resolve();
  }

  /**
   * Roll back the open transaction, if there is one: everyone who wrote in it is told so.
   * @param cause what went wrong: an error of SQLite, or a fault that left a write half done
   * @returns the error that those get who wait
   */
  fail(cause: unknown): StorageError {
    const error = cause instanceof StorageError ? cause : new StorageError(cause);
    if (!this.#open) return error;
    const waiting = this.#end();
    this.#rollbacks++;
    this.#lastFailure = error;
    try {
      this.#db.exec("ROLLBACK");
    } catch { /* SQLite has rolled back by itself, as after a full disk */ }
    this.#statements.clear();
    try {
      this.onRollback();
    } catch { /* the file cannot even be read: every command will say so, the process lives on */ }
    for (const one of waiting) one.reject(error);
    return error;
  }

  /** The error of a query. Some errors of SQLite end the open transaction, whatever statement they happen in. */
  #readFailed(cause: unknown): StorageError {
    return this.#open && !this.#db.isTransaction ? this.fail(cause) : new StorageError(cause);
  }

  /** The transaction is over; returns who waits for it. */
  #end(): { resolve: () => void; reject: (error: unknown) => void }[] {
    clearImmediate(this.#timer);
    this.#open = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  /** Pages of the file, and how many of them are free. */
  space(): { pages: number; free: number } {
    const { page_count } = this.get("PRAGMA page_count")!;
    const { freelist_count } = this.get("PRAGMA freelist_count")!;
    return { pages: Number(page_count), free: Number(freelist_count) };
  }

  /**
   * Give free pages back to the disk, unless something is being written.
   * @param pages how many at most
   * @returns how many were given back; none in a file that does not allow it
   * @throws StorageError when the disk is full, harmlessly
   */
  release(pages: number): number {
    if (this.#open) return 0;
    const before = this.space().pages;
    try {
      this.#db.exec("BEGIN");
      // `all()`, since each row that is asked for is one page.
      this.#db.prepare(`PRAGMA incremental_vacuum(${pages})`).all();
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw new StorageError(error);
    }
    return before - this.space().pages;
  }

  /**
   * Bring the journal into the file, which only then becomes shorter, and give the journal's space back.
   * @throws StorageError when the disk is full, harmlessly
   */
  checkpoint(): void {
    if (!this.#open) this.all("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  /** Commit what is open and close the file. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.flush();
    this.#statements.clear();
    this.#db.close();
  }
}
