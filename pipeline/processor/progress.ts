/**
 * How far the tasks in hand are, in one line at a terminal.
 * @module
 */
import { printable, startProgress } from "@event-sink/lib";

/** Shows how far one task is. */
export interface Progress {
  /** Shows how much is done, from 0 to 1. */
  update: (done: number) => void;
  /** Takes the task out of the line. */
  end: () => void;
}

/** Returns what takes a task into the line; without a terminal there is none. */
export function progressOfTasks(): (name: string) => Progress {
  const line = startProgress();
  if (!line) return () => ({ update() {}, end() {} });
  const tasks = new Map<symbol, { name: string; done: number }>();

  function show() {
    const all = [...tasks.values()];
    const mean = all.reduce((sum, { done }) => sum + done, 0) / all.length;
    line!.show(mean, all.length === 1 ? all[0]!.name : `${all.length} tasks`);
  }
  return (name) => {
    const key = Symbol();
    tasks.set(key, { name: printable(name, 100), done: 0 });
    show();
    return {
      update(done) {
        tasks.get(key)!.done = done;
        show();
      },
      end() {
        tasks.delete(key);
        if (tasks.size === 0) line.end();
      },
    };
  };
}
