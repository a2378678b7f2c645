/**
 * How a worker and the scaler that started it know of each other on one machine, whichever of them dies and returns: a file per worker. The worker
 * holds a lock on it, which the kernel frees however the worker ends; its content is the worker's state; its removal asks the worker to stop.
 * @module
 */

import { pause } from "@event-sink/lib";

/** What a worker does. */
export type WorkerState = "starting" | "idle" | "busy";

/** A worker's own state file. Dispose it to remove it. */
export interface StateFile extends AsyncDisposable {
  /** Writes the state. */
  write(state: WorkerState): Promise<void>;
}

/** Milliseconds between two looks whether the file is still there. */
const INTERVAL = 500;

/**
 * Locks a state file, making it when it is not there; without a name there is none.
 *
 * @param removed is called when it was removed
 */
export async function keepStateFile(
  path: string,
  { removed }: { removed: () => void },
): Promise<StateFile> {
  if (path === "") return { write: () => Promise.resolve(), async [Symbol.asyncDispose]() {} };
  const file = await Deno.open(path, { read: true, write: true, create: true });
  // Whoever reads the state holds the lock for a moment.
  for (let attempt = 1; !await file.tryLock(true); attempt++) {
    if (attempt < 10) await pause(50);
    else throw new Error(`Cannot start: '${path}' belongs to another worker`);
  }
  const timer = setInterval(() => Deno.stat(path).catch(removed), INTERVAL);
  return {
    async write(state) {
      await file.seek(0, Deno.SeekMode.Start);
      // All states at once, as one write of one length: whoever reads it sees either the old or the new one.
      await file.write(new TextEncoder().encode(state.padEnd(8)));
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await Deno.remove(path).catch(() => {}); // its removal was why it ends
      file.close();
    },
  };
}

/** Reads the state of a worker, or undefined when it does not live. */
export async function readStateFile(path: string): Promise<WorkerState | undefined> {
  try {
    using file = await Deno.open(path, { read: true });
    if (await file.tryLock(true)) return undefined;
    const text = (await Deno.readTextFile(path)).trim();
    return text === "idle" || text === "busy" ? text : "starting";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Resolves when standard input ends. */
export async function stdinEnded(): Promise<void> {
  const buffer = new Uint8Array(1024);
  while (await Deno.stdin.read(buffer).catch(() => null) !== null);
}
