/**
 * The tasks whose leases this worker has, from the claim until their results are written or they are given back.
 * @module
 */
import type { ClaimedTask } from "../queue/task.ts";

/** A task whose lease this worker has. Times are those of `performance.now()`: a change of the machine's clock does not move them. */
export interface HeldTask {
  task: ClaimedTask;
  /** The same for tasks of the same entry, which may be executed in one batch. */
  entryKey: string;
  /** When it was claimed. */
  since: number;
  /** When its lease ends. */
  until: number;
  /** Kills its handler; absent while that is not at work. */
  stop?: AbortController;
}

/** The tasks that this worker holds: those that are ready, those whose handlers are at work, and those whose results are being written. */
export interface HeldTasks {
  /** How many there are. */
  readonly count: number;
  /** Whether no more should be claimed, as they are all in memory. */
  readonly isFull: boolean;
  /** How many wait for a handler to begin. */
  readonly readyCount: number;
  /** Every one of them. */
  all(): HeldTask[];
  /** Takes a task in; `ready` when its handler is to begin. */
  add(held: HeldTask, ready: boolean): void;
  /** Whether it is still held: its lease may have been lost in the meantime. */
  has(held: HeldTask): boolean;
  /** Lets a task go. */
  drop(task: ClaimedTask): void;
  /** Takes the next tasks of one entry out of those that are ready, as many as `size` says for the first one. */
  takeBatch(size: (next: ClaimedTask) => number): HeldTask[];
  /** Puts tasks whose handlers have not begun at the front of those that are ready. */
  putBack(tasks: HeldTask[]): void;
  /** Takes out all that are ready. */
  takeReady(): HeldTask[];
  /** When the one that has been ready longest was claimed; Infinity when none is ready. */
  oldestReady(): number;
}

/** Tasks, and characters of their events, from which on no more are claimed. */
const MOST_HELD = 3000;
const HELD_SIZE = 64_000_000;

/** Creates an empty set of tasks. */
export function createHeldTasks(): HeldTasks {
  const byId = new Map<string, HeldTask>();
  /** In the order in which their handlers are to begin. */
  let ready = new Set<HeldTask>();
  let size = 0;

  function drop(task: ClaimedTask) {
    const held = byId.get(task._id);
    if (held?.task !== task) return;
    byId.delete(task._id);
    ready.delete(held);
    size -= task.size;
  }

  return {
    get count() {
      return byId.size;
    },
    get isFull() {
      return byId.size > MOST_HELD || size > HELD_SIZE;
    },
    get readyCount() {
      return ready.size;
    },
    all: () => [...byId.values()],
    add(held, isReady) {
      const earlier = byId.get(held.task._id);
      if (earlier) drop(earlier.task); // a claim that this worker has lost without knowing
      byId.set(held.task._id, held);
      size += held.task.size;
      if (isReady) ready.add(held);
    },
    has: (held) => byId.get(held.task._id) === held,
    drop,
    takeBatch(sizeFor) {
      const batch: HeldTask[] = [];
      let most = 1;
      for (const each of ready) {
        const first = batch[0] ?? each;
        if (each === first) most = sizeFor(each.task);
        if (each.entryKey === first.entryKey) batch.push(each);
        if (batch.length === most) break;
      }
      batch.forEach((each) => ready.delete(each));
      return batch;
    },
    putBack(tasks) {
      ready = new Set([...tasks, ...ready]);
    },
    takeReady() {
      const all = [...ready];
      ready.clear();
      return all;
    },
    oldestReady: () => Math.min(...[...ready].map(({ since }) => since)),
  };
}
