/**
 * `func` handlers: functions of TypeScript and JavaScript files, called in threads that have only the permissions of their entry.
 *
 * A thread runs one function at a time and is kept for the next tasks of the same handler, as starting one takes longer than most
 * handlers do: a handler may find its module's state as it left it. Waking one up takes longer than many functions, too: those that are
 * quick are called for several events in one go.
 * @module
 */
import type { Entry } from "../sub/filters.ts";
import { BadHandler, handlerFile } from "./handler_file.ts";
import { type Execution, OUTPUT_LIMIT } from "./drivers.ts";
import type { Outcome } from "../queue/task.ts";
import { type Answer, type Call, CLOSED } from "./call.ts";

/** How to execute a batch. */
export interface BatchOptions {
  directory: string;
  /** Milliseconds for each. */
  timeLimit: number;
  /** Terminates the thread: what was at work in it has no outcome. */
  signal: AbortSignal;
  /** Is told what came of the execution at an index, in order. */
  ended: (index: number, outcome: Outcome) => void;
  /** Is told from which index on the executions have not begun, and will not in this batch. */
  left: (from: number) => void;
}

/** Threads that execute functions. Dispose it to end them. */
export interface Threads extends Disposable {
  /** How many executions of a handler to put into a batch. */
  batch(handler: string): number;
  /**
   * Calls one function for each execution, all of the same entry, one after the other.
   *
   * @throws {BadHandler} when there is no such function
   */
  run(batch: Execution[], options: BatchOptions): Promise<void>;
}

/** Milliseconds that a batch should take: long against waking a thread up, short for who waits behind it. */
const BATCH_TIME = 20;
const LARGEST_BATCH = 100;
/** Milliseconds after which a function is a slow one: those behind it go elsewhere. */
const SLOW = 50;

/** Starts threads when they are needed, and keeps up to `kept` idle ones. */
export function threads(kept: number): Threads {
  /** The least recently used first. */
  let idle: { key: string; thread: Worker }[] = [];
  /** Milliseconds that a handler took for an event in its last batch. */
  const paces = new Map<string, number>();

  function keep(key: string, thread: Worker) {
    idle.push({ key, thread });
    if (idle.length > kept) idle.shift()!.thread.terminate();
  }

  return {
    async run(batch, options) {
      const { entry } = batch[0]!;
      const { file, name } = await handlerFile(options.directory, entry.handler, [
        ".ts",
        ".js",
        ".mjs",
      ]);
      const inside = await Deno.realPath(options.directory);
      const changed = (await Deno.stat(file)).mtime?.getTime();
      if (options.signal.aborted) return;
      const key = JSON.stringify([file, changed, entry.permissions]);
      const at = idle.findLastIndex((each) => each.key === key);
      const thread = at < 0 ? startThread(entry, file, inside) : idle.splice(at, 1)[0]!.thread;
      const started = performance.now();
      const { done, reusable } = await call(thread, { name, batch }, options);
      paces.set(entry.handler, (performance.now() - started) / done);
      if (reusable) keep(key, thread);
      else thread.terminate();
    },
    batch(handler) {
      const pace = paces.get(handler) ?? Infinity;
      return Math.max(1, Math.min(LARGEST_BATCH, Math.floor(BATCH_TIME / pace)));
    },
    [Symbol.dispose]() {
      idle.forEach(({ thread }) => thread.terminate());
      idle = [];
    },
  };
}

/** Has a thread call its function for each execution; says how many are done, and whether the thread is as good as new. */
async function call(
  thread: Worker,
  { name, batch }: { name: string; batch: Execution[] },
  { timeLimit, signal, ended, left }: BatchOptions,
): Promise<{ done: number; reusable: boolean }> {
  const { handler } = batch[0]!.entry;
  // The thread counts here what it begins, and begins nothing more once it is CLOSED. It begins the first in any case.
  const begun = new Int32Array(new SharedArrayBuffer(4));
  begun[0] = 1;
  /** Those from here on are not for this thread. */
  let end = batch.length;
  let closed = false;
  /** The next that is to be answered, since when that is waited for, and why it will not be. */
  let next = 0;
  let since = performance.now();
  let failure: Outcome | undefined;
  let reusable = true;
  const over = Promise.withResolvers<void>();

  function close() {
    if (closed) return;
    closed = true;
    end = Atomics.or(begun, 0, CLOSED);
    if (end < batch.length) left(end);
  }
  function fail(error: string, permanent = false) {
    close();
    failure = { status: "failed", error, permanent };
    settle();
  }
  function settle() {
    // What was answered before the failure comes first: it is on its way.
    if (failure && next === end - 1) ended(next++, failure);
    if (next === end) over.resolve();
  }
  function look() {
    const waited = performance.now() - since;
    if (waited >= SLOW) close();
    if (waited >= timeLimit && !failure) fail(`${handler} took longer than ${timeLimit / 1000} s`);
    timer = setTimeout(look, Math.max(1, (closed ? timeLimit : SLOW) - waited));
  }
  let timer = setTimeout(look, SLOW);
  thread.onmessage = ({ data: answer }: { data: Answer }) => {
    since = performance.now();
    if ("bad" in answer) {
      return fail(`Cannot use the handler '${handler}': its file ${answer.bad}`, true);
    }
    ended(next++, answer);
    if (answer.status === "failed") {
      reusable = false; // it may have left anything behind
      close();
    }
    settle();
  };
  thread.onerror = (event) => {
    event.preventDefault(); // else it would end the whole process
    fail(`${handler} crashed: ${event.message}`);
  };
  const onAbort = () => {
    close();
    reusable = false;
    over.resolve();
  };
  signal.addEventListener("abort", onAbort);
  const events = batch.map(({ event }) => event);
  thread.postMessage({ name, events, begun, limit: OUTPUT_LIMIT } satisfies Call);
  await over.promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", onAbort);
  return { done: next, reusable: reusable && !failure };
}

function startThread({ permissions = {}, handler }: Entry, file: string, directory: string) {
  const none = {
    env: false,
    ffi: false,
    import: false,
    net: false,
    read: false,
    run: false,
    sys: false,
    write: false,
  };
  const { read = false } = permissions;
  // To load the module and its siblings; the thread gives it up before it calls the function.
  const loading = read === true ? true : [...(read || []), directory];
  const keeps = read === true || (read && read.some((path) => path.startsWith(directory)));
  try {
    return new Worker(new URL("thread.ts", import.meta.url), {
      type: "module",
      name: JSON.stringify({ file, directory: keeps ? undefined : directory }),
      deno: { permissions: { ...none, ...permissions, read: loading } },
    });
  } catch (error) {
    throw new BadHandler(
      `Cannot give '${handler}' its permissions: ${(error as Error).message}`,
    );
  }
}
