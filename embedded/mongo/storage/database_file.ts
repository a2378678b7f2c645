/**
 * Opening the SQLite file: its access rights, its journal, and how it gives back space.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { makePrivate } from "../../private_files.ts";

/**
 * Open a database for this process alone.
 * @param file created when missing, for its owner only; absent: in memory
 * @throws Error when it cannot be opened, or another process has it open
 */
export function openDatabase(file: string | undefined): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    if (file !== undefined) makePrivate(file);
    db = new DatabaseSync(file ?? ":memory:");
    // Exclusive: two stores on one file would not see each other's catalog; it also spares the shared-memory file.
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    // Possible before anything is written only. A file of an earlier version must be rewritten (`VACUUM`) to have it, for
    // which Deno asks for all permissions: see the README.
    if (pragma(db, "page_count") === 0) db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = FULL");
    db.exec("PRAGMA cache_size = -65536");
    db.exec("PRAGMA temp_store = MEMORY");
    db.exec("PRAGMA wal_autocheckpoint = 4000");
    // The journal of one huge transaction does not stay that large.
    db.exec("PRAGMA journal_size_limit = 16777216");
    db.exec("BEGIN IMMEDIATE; COMMIT");
    return db;
  } catch (error) {
    db?.close();
    const why = (error as Error).message;
    throw new Error(
      `Cannot open the store's file ${file}: ${
        why.includes("locked") ? "another process has it open" : why
      }`,
      { cause: error },
    );
  }
}

function pragma(db: DatabaseSync, name: string): number {
  return Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0] as number;
}
