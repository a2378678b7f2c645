/**
 * SQLite, as datagen and statistics use it.
 * @module
 */
import { DatabaseSync } from "node:sqlite";

/**
 * Opens a database whose commits survive a power cut, created when missing.
 *
 * @param schema runs at every start
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

/** Runs work in one transaction: all of it is stored, or nothing when it throws. */
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
