/**
 * How far a replay came, in a file, so that the next run goes on there.
 * @module
 */
import { UsageError } from "@event-sink/lib";
import type { Mark, Source } from "./source.ts";

/** Milliseconds between two writes: what was confirmed since the last one is published again after a crash. */
const INTERVAL = 1000;

/** An open position file. Dispose it to let others have it. */
export interface Position extends AsyncDisposable {
  path: string;
  /** The place where an earlier run ended. */
  start?: Mark;
  /** Everything before this place is confirmed. */
  reached(mark: Mark): void;
  /** Writes the last place that was reached; that happens from time to time, too. */
  save(): Promise<void>;
}

/** What a replay was asked for; with something else a position does not hold. */
export type Asked = Record<string, unknown>;

/** How to keep a position. */
export interface PositionOptions {
  source: Source;
  asked: Asked;
  /** Is told when it cannot be written. */
  failed: (error: Error) => void;
}

/** A position that an earlier run has left; undefined when there is none. */
export async function readPosition(
  path: string,
  { source, asked }: Omit<PositionOptions, "failed">,
): Promise<Mark | undefined> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw new UsageError(`Cannot read '${path}': ${error.message}`);
  });
  if (text === "") return undefined;
  let found: { asked: Asked; at: Mark };
  try {
    found = JSON.parse(text.split("\n", 1)[0]!);
    if (typeof found.asked !== "object" || typeof found.at !== "object") throw new Error();
  } catch {
    throw new UsageError(`'${path}' is no position of a replay: name another with --position`);
  }
  const anew = `delete '${path}' to begin anew, or name another with --position`;
  const differing = [...new Set([...Object.keys(found.asked), ...Object.keys(asked)])]
    .find((name) => found.asked[name] !== asked[name]);
  if (differing) {
    const [before, now] = [found.asked, asked].map((each) => each[differing] ?? "none");
    throw new Error(
      `'${path}' is of a replay with another ${differing} (${before}; now ${now}): ${anew}`,
    );
  }
  try {
    await source.check(found.at);
  } catch (error) {
    throw new Error(`Cannot go on at '${path}': ${(error as Error).message}; ${anew}`);
  }
  return found.at;
}

/**
 * Opens a position file, and makes it when there is none; it is this process's until it is disposed.
 *
 * @throws when another replay has it, or it does not fit
 */
export async function openPosition(path: string, options: PositionOptions): Promise<Position> {
  const { source, asked, failed } = options;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true });
  } catch (error) {
    const why = error instanceof Deno.errors.NotCapable
      ? "the task may write below its own folder only"
      : (error as Error).message;
    throw new UsageError(`Cannot write '${path}': ${why}; name another place with --position`);
  }
  // Released with the process, however that ends.
  if (!await file.tryLock(true)) {
    file.close();
    throw new Error(`'${path}' is in use by another replay`);
  }
  let start: Mark | undefined;
  try {
    start = await readPosition(path, options);
  } catch (error) {
    file.close();
    throw error;
  }
  let latest: Mark | undefined;
  let last: Promise<void> = Promise.resolve();
  /** In place, since the lock is the file's. It is shorter than a page, which a killed process does not leave half written. */
  async function write() {
    if (!latest) return;
    const mark = latest;
    latest = undefined;
    const bytes = new TextEncoder().encode(
      JSON.stringify({ asked, at: await source.record(mark) }) + "\n",
    );
    await file.seek(0, Deno.SeekMode.Start);
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await file.write(rest));
    await file.truncate(bytes.length);
    await file.syncData();
    written = true;
  }
  let written = false;
  async function save() {
    try {
      await (last = last.then(write));
    } catch (error) {
      throw new Error(`Cannot write '${path}': ${(error as Error).message}`);
    }
  }
  const timer = setInterval(() => save().catch(failed), INTERVAL);
  return {
    path,
    start,
    reached(mark) {
      latest = mark;
    },
    save,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await last.catch(() => {}); // whoever saved knows
      if (!start && !written) await Deno.remove(path).catch(() => {});
      file.close();
    },
  };
}
