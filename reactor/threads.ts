/**
 * `func` handlers: a function of a TypeScript or JavaScript file, called in a thread that has only the permissions of its entry.
 *
 * A thread runs one function at a time and is kept for the next task of the same handler, as starting one takes longer than most
 * handlers do: a handler may find its module's state as it left it.
 * @module
 */
import type { Entry } from "./filters.ts";
import { BadHandler, handlerFile } from "./handler_file.ts";
import { type Execution, OUTPUT_LIMIT } from "./drivers.ts";
import type { Outcome } from "./task.ts";
import type { Answer } from "./thread.ts";

/** Threads that execute functions. Dispose it to end them. */
export interface Threads extends Disposable {
  /**
   * Calls the function and waits for what it returns.
   *
   * @throws {BadHandler} when there is no such function
   * @throws the signal's reason when that aborts: the thread was terminated
   */
  run(
    execution: Execution,
    options: { directory: string; signal: AbortSignal },
  ): Promise<Outcome>;
}

/** Starts threads when they are needed, and keeps up to `kept` idle ones. */
export function threads(kept: number): Threads {
  /** The least recently used first. */
  let idle: { key: string; thread: Worker }[] = [];

  function keep(key: string, thread: Worker) {
    idle.push({ key, thread });
    if (idle.length > kept) idle.shift()!.thread.terminate();
  }

  async function run(
    { entry, event }: Execution,
    { directory, signal }: { directory: string; signal: AbortSignal },
  ): Promise<Outcome> {
    const { file, name } = await handlerFile(directory, entry.handler, [".ts", ".js", ".mjs"]);
    const inside = await Deno.realPath(directory);
    const changed = (await Deno.stat(file)).mtime?.getTime();
    signal.throwIfAborted();
    const key = JSON.stringify([file, changed, entry.permissions]);
    const at = idle.findLastIndex((each) => each.key === key);
    const thread = at < 0 ? startThread(entry, file, inside) : idle.splice(at, 1)[0]!.thread;
    const answered = Promise.withResolvers<Answer>();
    const onAbort = () => answered.reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    thread.onmessage = ({ data }) => answered.resolve(data);
    thread.onerror = (event) => {
      event.preventDefault(); // else it would end the whole process
      answered.reject(new Error(`${entry.handler} crashed: ${event.message}`));
    };
    let reusable = false;
    try {
      thread.postMessage({ name, event, limit: OUTPUT_LIMIT });
      const answer = await answered.promise;
      if ("bad" in answer) {
        throw new BadHandler(`Cannot use the handler '${entry.handler}': ${file} ${answer.bad}`);
      }
      // A function that failed may have left anything behind.
      reusable = answer.status === "done";
      return answer;
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (reusable) keep(key, thread);
      else thread.terminate();
    }
  }

  return {
    run,
    [Symbol.dispose]() {
      idle.forEach(({ thread }) => thread.terminate());
      idle = [];
    },
  };
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
