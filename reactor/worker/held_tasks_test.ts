import assert from "node:assert/strict";
import type { ClaimedTask } from "../queue/task.ts";
import { createHeldTasks, type HeldTask } from "./held_tasks.ts";

function heldTask(id: string, { entryKey = "a", size = 10, since = 0 } = {}): HeldTask {
  return { task: { _id: id, size } as ClaimedTask, entryKey, since, until: 1000 };
}
const ids = (tasks: HeldTask[]) => tasks.map(({ task }) => task._id).join("");

Deno.test("takeBatch() takes tasks of the first one's entry, in order, and putBack() puts them in front", () => {
  const held = createHeldTasks();
  for (const [id, entryKey] of [["1", "a"], ["2", "b"], ["3", "a"], ["4", "a"]] as const) {
    held.add(heldTask(id, { entryKey }), true);
  }
  const batch = held.takeBatch(() => 2);
  assert.equal(ids(batch), "13");
  assert.deepEqual([held.readyCount, held.count], [2, 4]);
  held.putBack(batch.slice(1));
  assert.equal(ids(held.takeBatch(() => 10)), "34");
  assert.equal(ids(held.takeReady()), "2");
  assert.deepEqual([held.readyCount, held.count], [0, 4]);
});

Deno.test("a task that is dropped is neither held nor ready", () => {
  const held = createHeldTasks();
  const [first, again] = [heldTask("1", { since: 5 }), heldTask("1", { since: 7 })];
  held.add(first, true);
  assert.equal(held.oldestReady(), 5);
  held.add(again, true); // claimed anew: the first claim is lost
  assert.deepEqual([held.has(first), held.has(again), held.count], [false, true, 1]);
  assert.equal(held.oldestReady(), 7);
  held.drop(first.task);
  assert(held.has(again));
  held.drop(again.task);
  assert.deepEqual([held.count, held.readyCount, held.oldestReady()], [0, 0, Infinity]);
});

Deno.test("held tasks are full by number and by size, and have room again", () => {
  for (const [size, most] of [[10, 3001], [8_000_000, 9]] as const) {
    const held = createHeldTasks();
    let count = 0;
    while (!held.isFull) held.add(heldTask(`${count++}`, { size }), false);
    assert.equal(count, most);
    held.drop(held.all()[0]!.task);
    assert(!held.isFull);
  }
});
