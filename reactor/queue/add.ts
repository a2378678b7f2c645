/**
 * How tasks get into the queue.
 * @module
 */
import type { Collections } from "./collections.ts";
import type { NewTask } from "./task.ts";
import { wakeUp } from "./wake_ups.ts";

/**
 * Adds tasks and wakes the workers. A task that is there already stays as it is, whatever its status.
 *
 * @throws when MongoDB is away: some of the tasks may have been added, and the same call again adds the rest
 */
export async function addTasks(
  { tasks, wakeUps }: Pick<Collections, "tasks" | "wakeUps">,
  newTasks: NewTask[],
): Promise<void> {
  if (newTasks.length === 0) return;
  const now = new Date();
  await tasks.bulkWrite(
    newTasks.map(({ _id, ...rest }) => {
      const { driver, handler, exclusive } = rest.entry;
      const lock = exclusive ? { lock: `${driver} ${handler}` } : {};
      const size = rest.event.length;
      const task = { ...rest, size, ...lock, status: "pending" as const, attempts: 0 };
      return {
        updateOne: {
          filter: { _id },
          update: { $setOnInsert: { ...task, due: now, added: now } },
          upsert: true,
        },
      };
    }),
    { ordered: false },
  );
  await wakeUp(wakeUps);
}
