/**
 * Begins the handlers of the tasks that are ready, as many at a time as the worker may.
 * @module
 */
import { type OpenSpan, startSpan, tracing } from "@event-sink/lib";
import type { Outcome } from "../handlers/execution.ts";
import type { Drivers } from "../handlers/drivers.ts";
import type { ClaimedTask } from "../queue/task.ts";
import { spanOf } from "../trace.ts";
import type { HeldTask, HeldTasks } from "./held_tasks.ts";
import type { Pace } from "./pace.ts";

/** What an executor works with. */
export interface ExecutorOptions {
  held: HeldTasks;
  drivers: Drivers;
  /** Handlers at the same time. */
  concurrency: number;
  /** Is told how many tasks begin. */
  pace: Pace;
  /** Called with each attempt that has ended. */
  ended: (task: ClaimedTask, outcome: Outcome) => void;
  /** Called with tasks whose handlers have not ended, once the worker is to stop. */
  interrupted: (tasks: HeldTask[]) => void;
  /** Called whenever there is room for another handler. */
  room: () => void;
  /** Once it has aborted no handler begins. */
  signal: AbortSignal;
}

/** Executes tasks. */
export interface Executor {
  /** How many more handlers may begin. */
  readonly room: number;
  /** Begins the handlers of tasks that are ready, as far as there is room. */
  begin(): void;
}

/** Creates an executor. */
export function createExecutor(options: ExecutorOptions): Executor {
  const { held, drivers, concurrency, pace, ended, interrupted, signal } = options;
  let executing = 0;

  function begin() {
    while (executing < concurrency && held.readyCount > 0 && !signal.aborted) {
      execute(held.takeBatch(({ entry }) => drivers.batchSize(entry)));
    }
  }

  async function execute(batch: HeldTask[]) {
    executing++;
    pace.begun(batch.length);
    const stop = new AbortController();
    const started = new Date();
    for (const each of batch) {
      each.stop = stop;
      each.task.started = started;
    }
    const open = new Set(batch);
    let span = attempt(batch[0]!);
    // Commands come alone, so that this is the trace of theirs.
    const trace = span?.trace ?? batch[0]!.task.trace;
    await drivers.execute(batch.map(({ task: { entry, event } }) => ({ entry, event, trace })), {
      signal: stop.signal,
      ended(index, outcome) {
        open.delete(batch[index]!);
        span?.end(outcome.status === "failed" ? new Error(outcome.error) : undefined);
        const next = batch[index + 1];
        span = next && open.has(next) ? attempt(next) : undefined;
        ended(batch[index]!.task, outcome);
      },
      left(from) {
        const rest = batch.slice(from);
        rest.forEach((each) => open.delete(each));
        putBack(rest);
      },
    });
    executing--;
    if (open.size > 0) span?.end(new Error("its handler was killed"));
    putBack([...open]); // their handler was killed, as the lease of one of them was lost
    options.room();
  }

  function attempt({ task }: HeldTask): OpenSpan | undefined {
    if (!tracing) return undefined;
    const { _id: id, trace: cause, attempts, entry: { driver, handler } } = task;
    const [name, options] = spanOf("process", task, { system: "mongodb", id, cause });
    const ours = { "event_sink.attempt": attempts, "event_sink.handler": `${driver} ${handler}` };
    return startSpan(name, { ...options, attributes: { ...options.attributes, ...ours } });
  }

  function putBack(tasks: HeldTask[]) {
    const mine = tasks.filter(held.has);
    if (signal.aborted) return interrupted(mine);
    mine.forEach((each) => delete each.stop);
    held.putBack(mine);
    begin();
  }

  return {
    get room() {
      return concurrency - executing;
    },
    begin,
  };
}
