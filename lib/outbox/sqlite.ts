/**
 * SQLite as a service's own database.
 * @module
 */
import { DatabaseSync } from "node:sqlite";

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
    for (const suffix of ["", "-wal", "-shm"]) protect(file + suffix);
    const database = new DatabaseSync(file, { timeout: 5000 });
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

/** Characters after which writes are not collected any further: a transaction that takes long holds up everybody. */
const GROUP_SIZE = 16 * 2 ** 20;

/**
 * Returns what runs a write in one transaction with the others of this turn of the event loop, as a commit waits for the disk. It resolves
 * when the write is stored, and rejects when it is not, which concerns no other write.
 *
 * @param size what the write brings, in characters
 */
export function groupCommits(
  database: DatabaseSync,
): (size: number, write: () => void) => Promise<void> {
  let group: (PromiseWithResolvers<void> & { write: () => void })[] = [];
  let total = 0;

  function commit() {
    if (group.length === 0) return; // its size has had it committed already
    const committed = group;
    group = [];
    total = 0;
    try {
      transaction(database, () => committed.forEach(({ write }) => write()));
    } catch {
      for (const { write, resolve, reject } of committed) {
        try {
          transaction(database, write);
          resolve();
        } catch (error) {
          reject(error);
        }
      }
    }
    for (const { resolve } of committed) resolve(); // those that were rejected stay so
  }
  return (size, write) => {
    const done = { ...Promise.withResolvers<void>(), write };
    total += size;
    if (group.push(done) === 1) setTimeout(commit);
    if (total > GROUP_SIZE) commit();
    return done.promise;
  };
}
