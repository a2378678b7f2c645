/**
 * SQLite as a service's own database.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import type { Log } from "../log.ts";
import { BadMessage } from "../retry.ts";
import { ofThisSpan } from "../trace.ts";
import { pause } from "../wait.ts";

/**
 * Opens a database whose commits survive a power cut, created when missing. Only this user can read it, whatever the umask: it holds what
 * messages say.
 *
 * @param file its name; SQLite keeps FILE-wal and FILE-shm beside it, with the same permissions
 * @param schema statements, or what executes them; they run at every start
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openDatabase(
  file: string,
  schema: string | ((database: DatabaseSync) => void),
): DatabaseSync {
  try {
    Deno.openSync(file, { create: true, append: true, mode: 0o600 }).close();
    const database = new DatabaseSync(file, { timeout: 5000 });
    database.exec("PRAGMA schema_version"); // throws when it is another file, whose permissions stay as they are
    for (const suffix of ["", "-wal", "-shm"]) protect(file + suffix);
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    if (typeof schema === "string") database.exec(schema);
    else schema(database);
    return database;
  } catch (error) {
    throw new Error(`Cannot open the database '${file}': ${(error as Error).message}`);
  }
}

/** Files of earlier versions were open to others. */
function protect(file: string): void {
  try {
    Deno.chmodSync(file, 0o600);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Runs `work` in one transaction and returns its result.
 *
 * @throws what `work` or the commit throws; nothing is stored then
 */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/** Characters after which writes are not collected any further: a transaction that takes long holds up everybody. */
const GROUP_SIZE = 16 * 2 ** 20;

/** Runs a write that brings `size` characters (0: not worth counting), and resolves with its result once that is stored. */
export type GroupedWrite = <T>(write: () => T, size?: number) => Promise<T>;

/**
 * Returns what runs a write in one transaction with the others of this turn of the event loop, as a commit waits for the disk. It rejects when
 * the write is not stored, which concerns no other write.
 */
export function groupCommits(database: DatabaseSync): GroupedWrite {
  /** Each runs its write, and returns what settles its promise after the commit. */
  let group: { run: () => () => void; reject: (error: unknown) => void }[] = [];
  let total = 0;

  function commit() {
    if (group.length === 0) return; // its size has had it committed already
    const committed = group;
    group = [];
    total = 0;
    let begun = false;
    try {
      const settle = transaction(database, () => {
        begun = true;
        return committed.map(({ run }) => run());
      });
      for (const resolve of settle) resolve();
    } catch (failure) {
      for (const { run, reject } of committed) {
        try {
          if (!begun) throw failure; // a lock, which each would wait for
          transaction(database, run)();
        } catch (error) {
          reject(error);
        }
      }
    }
  }
  return (write, size = 0) =>
    new Promise((resolve, reject) => {
      const run = ofThisSpan(() => {
        const result = write();
        return () => resolve(result);
      });
      total += size;
      if (group.push({ run, reject }) === 1) setTimeout(commit);
      if (total > GROUP_SIZE) commit();
    });
}

/** Milliseconds between two attempts. */
const RETRY = 1000;

/**
 * Returns what does work on a database, however long that fails (a full disk, a lock): it is no fault of the message or event that asks for
 * it. That it fails, and that it works again, is said once, whoever waits. The work's promise rejects
 *
 * - with a {@linkcode BadMessage} that `work` throws;
 * - with the signal's reason when it aborts.
 */
export function patience(
  { signal, log }: { signal: AbortSignal; log: Log },
): <T>(work: () => T | Promise<T>) => Promise<T> {
  let failing = false;
  return async (work) => {
    while (true) {
      try {
        const result = await work();
        if (failing) log.info("The database works again");
        failing = false;
        return result;
      } catch (error) {
        if (error instanceof BadMessage) throw error;
        if (!failing) log.warn(`The database fails: ${(error as Error).message}. Waiting`);
        failing = true;
      }
      await pause(RETRY, signal);
    }
  };
}
