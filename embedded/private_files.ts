/**
 * Files that only their owner can read.
 * @module
 */

/**
 * Make an SQLite file that is for its owner alone, whatever the umask: with mode 0600 before SQLite opens it, which then gives
 * the -wal and the -shm beside it the same mode. Those that an earlier version left are narrowed.
 * @param path Where it is or is to be.
 * @throws when it cannot be made, or belongs to another user
 */
export function makePrivate(path: string): void {
  Deno.openSync(path, { write: true, create: true, mode: 0o600 }).close();
  if (Deno.build.os === "windows") return;
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    try {
      Deno.chmodSync(file, 0o600);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
