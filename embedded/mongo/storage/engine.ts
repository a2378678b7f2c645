/**
 * The SQLite connection and its group commit: every write of one turn of the event loop goes into one
 * transaction, and whoever wrote waits for `committed()` before answering.
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { clearImmediate, setImmediate } from "node:timers";

/** One SQLite database, used by one process alone. */
export class Engine {
  #db: DatabaseSync;
  #open = false;
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #timer: ReturnType<typeof setImmediate> | undefined;
  #statements = new Map<string, StatementSync>();
  #closed = false;

  /**
   * @param file SQLite file; absent: in memory
   * @param onRollback called after a failed transaction: what was cached of the catalog is void
   * @throws Error when the file cannot be opened or another process has it
   */
  constructor(file: string | undefined, private readonly onRollback: () => void) {
    try {
      this.#db = new DatabaseSync(file ?? ":memory:");
      // Exclusive: two stores on one file would not see each other's catalog; it also spares the shared-memory file.
      this.#db.exec("PRAGMA locking_mode = EXCLUSIVE");
      this.#db.exec("PRAGMA journal_mode = WAL");
      this.#db.exec("PRAGMA synchronous = FULL");
      this.#db.exec("PRAGMA cache_size = -65536");
      this.#db.exec("PRAGMA temp_store = MEMORY");
      this.#db.exec("PRAGMA wal_autocheckpoint = 4000");
      this.#db.exec("BEGIN IMMEDIATE; COMMIT");
    } catch (error) {
      const why = (error as Error).message;
      throw new Error(
        `Cannot open the store's file ${file}: ${
          why.includes("locked") ? "another process has it open" : why
        }`,
        { cause: error },
      );
    }
  }

  /** A prepared statement, made once per text. */
  prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** Run statements that define tables, inside the current transaction. */
  define(sql: string): void {
    this.begin();
    this.#db.exec(sql);
  }

  /** Forget prepared statements on a table that is about to be dropped. */
  forget(table: string): void {
    for (const sql of this.#statements.keys()) {
      if (sql.includes(table)) this.#statements.delete(sql);
    }
  }

  /** Make sure that a transaction is open; it is committed when this turn of the event loop ends. */
  begin(): void {
    if (this.#open) return;
    this.#db.exec("BEGIN");
    this.#open = true;
    this.#timer = setImmediate(() => this.flush());
  }

  /** Resolves when everything written so far is on disk; rejects when it could not be. */
  committed(): Promise<void> {
    if (!this.#open) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Commit now. A failure goes to those who wait, as theirs. */
  flush(): void {
    if (!this.#open) return;
    clearImmediate(this.#timer);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#open = false;
    try {
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#rollback();
      for (const one of waiting) one.reject(error);
      return;
    }
    for (const one of waiting) one.resolve();
  }

  /** Give up the open transaction: a write failed half done, and everyone in it must hear so. */
  fail(error: unknown): void {
    if (!this.#open) return;
    clearImmediate(this.#timer);
    this.#open = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#rollback();
    for (const one of waiting) one.reject(error);
  }

  #rollback(): void {
    try {
      this.#db.exec("ROLLBACK");
    } catch { /* SQLite has rolled back by itself, as after a full disk */ }
    this.#statements.clear();
    try {
      this.onRollback();
    } catch { /* the file cannot even be read: every command will say so, the process lives on */ }
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
