/**
 * SQLite as a service's own database.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { BadMessage, type Log, pause } from "@event-sink/lib";

/**
 * Opens a database whose commits survive a power cut, created when missing. Only this user can read it, whatever the umask.
 *
 * @param file its name; SQLite keeps FILE-wal and FILE-shm beside it, with the same permissions
 * @param schema statements that run at every start
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openDatabase(file: string, schema: string): DatabaseSync {
  try {
    Deno.openSync(file, { create: true, append: true, mode: 0o600 }).close();
    const database = new DatabaseSync(file, { timeout: 5000 });
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${schema}`);
    return database;
  } catch (error) {
    throw new Error(`Cannot open the database '${file}': ${(error as Error).message}`);
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

/** Milliseconds between two attempts. */
const RETRY = 1000;

/**
 * Does what a message asks for, however long the database fails (a full disk, a lock): that is no fault of the message, which waits.
 *
 * @throws {BadMessage} what `work` throws of the message itself
 * @throws the signal's reason when it aborts
 */
export async function patiently<T>(
  work: () => T,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<T> {
  for (let failures = 0;; failures++) {
    try {
      const result = work();
      if (failures > 0) log.info("The database works again");
      return result;
    } catch (error) {
      if (error instanceof BadMessage) throw error;
      if (failures === 0) log.warn(`The database fails: ${(error as Error).message}. Waiting`);
    }
    await pause(RETRY, signal);
  }
}
