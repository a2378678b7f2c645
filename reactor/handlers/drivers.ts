/**
 * Executes handlers for events, with a time limit, so that whatever it does harms nobody else.
 * @module
 */
import type { Entry } from "../sub/filters.ts";
import type { Outcome, Task } from "../queue/task.ts";
import { BadHandler } from "./handler_file.ts";
import { runProcess, splitWords } from "./subprocess.ts";
import { runPython } from "./python.ts";
import { type BatchOptions, threads } from "./thread_pool.ts";

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

/** Who is told what comes of a batch. */
export type BatchReport = Pick<BatchOptions, "signal" | "ended" | "left">;

/** Executes handlers. Dispose it to end the threads that it keeps. */
export interface Drivers extends Disposable {
  /** How many executions of an entry to hand over at once. */
  batch(entry: Entry): number;
  /**
   * Executes handlers, all of the same entry, one after the other; whatever goes wrong is their outcome. When the signal aborts, the handler is
   * killed and has no outcome.
   */
  execute(batch: Execution[], report: BatchReport): Promise<void>;
}

/** The drivers `shell`, `func` and `pyfunc`. */
export function createDrivers({ directory, timeLimit, concurrency }: DriverOptions): Drivers {
  const functions = threads(concurrency);

  async function executeOne(execution: Execution, stop: AbortSignal): Promise<Outcome | undefined> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), timeLimit);
    const signal = AbortSignal.any([stop, limit.signal]);
    try {
      return await run(execution, { directory, signal });
    } catch (error) {
      if (stop.aborted) return undefined;
      if (!limit.signal.aborted) return failed(error as Error);
      const text = `${execution.entry.handler} took longer than ${timeLimit / 1000} s`;
      return { status: "failed", error: text };
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    batch: ({ driver, handler }) => driver === "func" ? functions.batch(handler) : 1,
    async execute(batch, report) {
      const { signal, ended } = report;
      if (batch[0]!.entry.driver === "func") {
        await functions.run(batch, { directory, timeLimit, ...report }).catch((error) =>
          batch.forEach((_, index) => ended(index, failed(error)))
        );
        return;
      }
      for (const [index, execution] of batch.entries()) {
        const outcome = await executeOne(execution, signal);
        if (outcome) ended(index, outcome);
      }
    },
    [Symbol.dispose]: () => functions[Symbol.dispose](),
  };
}

function failed(error: Error): Outcome {
  return { status: "failed", error: error.message, permanent: error instanceof BadHandler };
}

function run(
  execution: Execution,
  context: { directory: string; signal: AbortSignal },
): Promise<Outcome> {
  const { driver } = execution.entry;
  if (driver === "shell") return runShell(execution, context);
  if (driver === "pyfunc") return runPython(execution, context);
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
