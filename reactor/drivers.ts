/**
 * Executes one handler for one event, with a time limit, so that whatever it does harms nobody else.
 * @module
 */
import type { Outcome, Task } from "./task.ts";
import { BadHandler } from "./handler_file.ts";
import { runProcess, splitWords } from "./subprocess.ts";
import { runPython } from "./python.ts";
import { type Threads, threads } from "./threads.ts";

/** Bytes of output, or characters of a returned value, that are kept. */
export const OUTPUT_LIMIT = 65_536;
/** Linux takes no longer argument than 128 KiB. */
const ARGUMENT_LIMIT = 131_071;

/** What to execute. */
export type Execution = Pick<Task, "entry" | "event">;

/** How to execute. */
export interface DriverOptions {
  /** Where the files of handlers are. */
  directory: string;
  /** Milliseconds. */
  timeLimit: number;
  /** Handlers at the same time. */
  concurrency: number;
}

/** Executes handlers. Dispose it to end the threads that it keeps. */
export interface Drivers extends Disposable {
  /**
   * Executes a handler; whatever goes wrong is its outcome.
   *
   * @throws the signal's reason when that aborts: the handler was killed
   */
  execute(execution: Execution, signal: AbortSignal): Promise<Outcome>;
}

/** The drivers `shell`, `func` and `pyfunc`. */
export function createDrivers({ directory, timeLimit, concurrency }: DriverOptions): Drivers {
  const functions = threads(concurrency);
  return {
    async execute(execution, stop) {
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(), timeLimit);
      const signal = AbortSignal.any([stop, limit.signal]);
      try {
        return await run(execution, { directory, signal, functions });
      } catch (error) {
        stop.throwIfAborted();
        if (limit.signal.aborted) {
          const text = `${execution.entry.handler} took longer than ${timeLimit / 1000} s`;
          return { status: "failed", error: text };
        }
        const permanent = error instanceof BadHandler;
        return { status: "failed", error: (error as Error).message, permanent };
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.dispose]: () => functions[Symbol.dispose](),
  };
}

function run(
  execution: Execution,
  context: { directory: string; signal: AbortSignal; functions: Threads },
): Promise<Outcome> {
  const { driver } = execution.entry;
  if (driver === "shell") return runShell(execution, context);
  if (driver === "pyfunc") return runPython(execution, context);
  if (driver === "func") return context.functions.run(execution, context);
  return Promise.reject(
    new BadHandler(`Unknown driver '${driver}': expected shell, func or pyfunc`),
  );
}

async function runShell(
  { entry, event }: Execution,
  { directory, signal }: { directory: string; signal: AbortSignal },
): Promise<Outcome> {
  const size = new TextEncoder().encode(event).length;
  if (size > ARGUMENT_LIMIT) {
    throw new BadHandler(
      `Cannot pass the event to a command: it has ${size} bytes, an argument at most ${ARGUMENT_LIMIT}`,
    );
  }
  const words = splitWords(entry.handler);
  const { code, stdout, stderr } = await runProcess([...words, event], { cwd: directory, signal });
  const outcome = { code, data: stdout, log: stderr };
  if (code === 0) return { status: "done", ...outcome };
  const lastLine = stderr.trimEnd().split("\n").at(-1);
  const error = `${words[0]} ended with code ${code}${lastLine ? `: ${lastLine}` : ""}`;
  return { status: "failed", ...outcome, error: error.slice(0, 1000) };
}
