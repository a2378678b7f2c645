/**
 * `func` handlers: functions of TypeScript and JavaScript files, called in threads that have only the permissions of their entry.
 *
 * Starting a thread takes longer than most functions do. So a thread is kept for the next tasks of the same handler, which may then find the
 * state of its module as the last call has left it. Waking a thread takes longer than a quick function, too: such a function is called
 * for several events in one go, a batch.
 * @module
 */
import type { Entry } from "./entry.ts";
import { BadHandler, type BatchReport, type Execution } from "./execution.ts";
import { handlerFile } from "./handler_file.ts";
import { callInThread } from "./thread_call.ts";

/** Threads that execute functions. Dispose it to end them. */
export interface ThreadPool extends Disposable {
  /** How many executions of a handler to put into a batch. */
  batchSize(handler: string): number;
  /**
   * Calls one function for each execution, all of the same entry, one after the other.
   *
   * @throws {BadHandler} when there is no such function
   */
  run(batch: Execution[], report: BatchReport): Promise<void>;
}

/** What the threads of a pool have in common. */
export interface ThreadPoolOptions {
  /** Where the files of handlers are. */
  directory: string;
  /** Milliseconds that each call of a function may take. */
  timeLimit: number;
  /** Idle threads that are kept. */
  keep: number;
}

/** Milliseconds that a batch should take: long against waking a thread, short for the tasks that wait behind it. */
const BATCH_TIME = 20;
const LARGEST_BATCH = 100;

/** Creates a pool, which starts threads when they are needed. */
export function createThreadPool({ directory, timeLimit, keep }: ThreadPoolOptions): ThreadPool {
  /** The least recently used first. */
  let idle: { key: string; thread: Worker }[] = [];
  /** Milliseconds that a handler took for an event in its last batch. */
  const paces = new Map<string, number>();

  function takeIdle(key: string): Worker | undefined {
    const at = idle.findLastIndex((each) => each.key === key);
    return at < 0 ? undefined : idle.splice(at, 1)[0]!.thread;
  }
  function keepIdle(key: string, thread: Worker) {
    idle.push({ key, thread });
    thread.onerror = (event) => {
      event.preventDefault(); // it would end the whole process
      idle = idle.filter((each) => each.thread !== thread);
    };
    if (idle.length > keep) idle.shift()!.thread.terminate();
  }

  return {
    batchSize(handler) {
      const pace = paces.get(handler) ?? Infinity;
      return Math.max(1, Math.min(LARGEST_BATCH, Math.floor(BATCH_TIME / pace)));
    },
    async run(batch, report) {
      const { entry } = batch[0]!;
      const { file, name } = await handlerFile(directory, entry.handler, [".ts", ".js", ".mjs"]);
      const inside = await Deno.realPath(directory);
      const changed = (await Deno.stat(file)).mtime?.getTime();
      if (report.signal.aborted) return;
      const key = JSON.stringify([file, changed, entry.permissions, entry.env]);
      const used = takeIdle(key);
      const thread = used ?? startThread(entry, file, inside);
      const started = performance.now();
      const call = { name, batch, timeLimit, used: used !== undefined };
      const { done, reusable } = await callInThread(thread, call, report);
      if (done > 0) paces.set(entry.handler, (performance.now() - started) / done);
      if (reusable) keepIdle(key, thread);
      else thread.terminate();
    },
    [Symbol.dispose]() {
      idle.forEach(({ thread }) => thread.terminate());
      idle = [];
    },
  };
}

function startThread({ permissions = {}, env, handler }: Entry, file: string, directory: string) {
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
  // To load the module and what it imports; the thread gives it up before it calls the function.
  const loading = read === true ? true : [...(read || []), directory];
  const keeps = read === true || (read && read.some((path) => path.startsWith(directory)));
  const visible = permissions.env === true || [...(permissions.env || []), ...(env ?? [])];
  try {
    return new Worker(new URL("thread.ts", import.meta.url), {
      type: "module",
      name: JSON.stringify({ file, directory: keeps ? undefined : directory }),
      deno: { permissions: { ...none, ...permissions, env: visible, read: loading } },
    });
  } catch (error) {
    throw new BadHandler(
      `Cannot give '${handler}' its permissions: ${(error as Error).message}`,
    );
  }
}
