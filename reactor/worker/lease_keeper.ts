/**
 * Keeps the leases of the tasks that a worker holds, and lets go of the tasks whose lease it has lost.
 * @module
 */
import { type Log, pause } from "@event-sink/lib";
import { renewLeases } from "../queue/lease.ts";
import type { WorkerQueue } from "../queue/worker_queue.ts";
import type { HeldTask, HeldTasks } from "./held_tasks.ts";
import type { Outage } from "./outage.ts";
import type { WriteBack } from "./write_back.ts";

/** Keeps leases until it is stopped. */
export interface LeaseKeeper {
  /** Stops, and resolves when no renewal is under way. */
  stop(): Promise<void>;
}

/** Starts to keep the leases. */
export function keepLeases(
  { queue, held, outage, writeBack, log }: {
    queue: WorkerQueue;
    held: HeldTasks;
    outage: Outage;
    writeBack: WriteBack;
    log: Log;
  },
): LeaseKeeper {
  const { lease } = queue;
  const stopped = new AbortController();

  async function renewAll() {
    while (!stopped.signal.aborted) {
      const interval = outage.isAway ? Math.min(1000, lease / 10) : lease / 3;
      await pause(interval, stopped.signal).catch(() => {});
      const mine = held.all();
      if (mine.length === 0) continue;
      const until = performance.now() + lease;
      try {
        const gone = new Set(await renewLeases(queue, mine.map(({ task }) => task)));
        outage.succeeded();
        for (const each of mine) {
          if (!gone.has(each.task)) each.until = until;
          else if (held.has(each)) lose(each);
        }
      } catch (error) {
        outage.failed(error);
      }
    }
  }

  function lose(each: HeldTask) {
    const { task, stop } = each;
    if (!writeBack.unwritten().has(task)) {
      log.warn(`Lost the lease of task ${task._id}: it goes to another worker`);
    }
    held.drop(task);
    stop?.abort();
  }

  // Nobody else may execute a task while its handler is at work here: the handler is killed before the lease ends.
  const watch = setInterval(() => {
    const soon = performance.now() + lease / 10;
    for (const each of held.all()) if (each.until < soon) lose(each);
  }, lease / 20);
  const renewing = renewAll();
  return {
    async stop() {
      clearInterval(watch);
      stopped.abort();
      await renewing;
    },
  };
}
