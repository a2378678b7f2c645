/**
 * The drivers `shell`, `func` and `pyfunc`: they execute handlers with a time limit, so that whatever one does harms nobody else.
 * @module
 */
import type { Entry } from "./entry.ts";
import { BadHandler, type BatchReport, type Execution, type Outcome } from "./execution.ts";
import { runPython } from "./python.ts";
import { runShell } from "./shell.ts";
import { createThreadPool } from "./thread_pool.ts";

/** How to execute. */
export interface DriverOptions {
  /** Where the files of handlers are. */
  directory: string;
  /** Milliseconds that a handler may take. */
  timeLimit: number;
  /** Handlers at the same time; as many idle threads are kept. */
  concurrency: number;
}

/** Executes handlers. Dispose it to end the threads that it keeps. */
export interface Drivers extends Disposable {
  /** How many executions of an entry to hand over together. */
  batchSize(entry: Entry): number;
  /**
   * Executes handlers, all of the same entry, one after the other; whatever goes wrong is their outcome. When the report's signal aborts, the
   * handler at work is killed and has no outcome.
   */
  execute(batch: Execution[], report: BatchReport): Promise<void>;
}

/** Creates the drivers. */
export function createDrivers({ directory, timeLimit, concurrency }: DriverOptions): Drivers {
  const functions = createThreadPool({ directory, timeLimit, keep: concurrency });
  return {
    batchSize: ({ driver, handler }) => driver === "func" ? functions.batchSize(handler) : 1,
    async execute(batch, report) {
      try {
        if (batch[0]!.entry.driver === "func") return await functions.run(batch, report);
      } catch (error) {
        return batch.forEach((_, index) => report.ended(index, failed(error as Error)));
      }
      for (const [index, execution] of batch.entries()) {
        const outcome = await executeOne(execution, { directory, timeLimit, stop: report.signal });
        if (outcome) report.ended(index, outcome);
      }
    },
    [Symbol.dispose]: () => functions[Symbol.dispose](),
  };
}

/** Executes a handler in a process of its own; undefined when it was stopped. */
async function executeOne(
  execution: Execution,
  { directory, timeLimit, stop }: { directory: string; timeLimit: number; stop: AbortSignal },
): Promise<Outcome | undefined> {
  const { driver, handler } = execution.entry;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeLimit);
  const context = { directory, signal: AbortSignal.any([stop, limit.signal]) };
  try {
    if (driver === "shell") return await runShell(execution, context);
    if (driver === "pyfunc") return await runPython(execution, context);
    throw new BadHandler(`Unknown driver '${driver}': expected shell, func or pyfunc`);
  } catch (error) {
    if (stop.aborted) return undefined;
    if (!limit.signal.aborted) return failed(error as Error);
    return { status: "failed", error: `${handler} took longer than ${timeLimit / 1000} s` };
  } finally {
    clearTimeout(timer);
  }
}

function failed(error: Error): Outcome {
  return { status: "failed", error: error.message, permanent: error instanceof BadHandler };
}
