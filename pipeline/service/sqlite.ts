/**
 * SQLite as a service's own database.
 * @module
 */
import { DatabaseSync } from "node:sqlite";

/**
 * Opens a database whose commits survive a power cut, created when missing.
 *
 * @param file its name; SQLite keeps FILE-wal and FILE-shm beside it
 * @param schema statements that run at every start
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openDatabase(file: string, schema: string): DatabaseSync {
  try {
    const database = new DatabaseSync(file, { timeout: 5000 });
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${schema}`);
    return database;
  } catch (error) {
    throw new Error(`Cannot open the database '${file}': ${(error as Error).message}`);
  }
}

/**
 * Runs `work` in one transaction.
 *
 * @throws what `work` or the commit throws; nothing is stored then
 */
export function transaction(database: DatabaseSync, work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    work();
    database.exec("COMMIT");
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
