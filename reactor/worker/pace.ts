/**
 * How many tasks to claim ahead: a task costs less than a round trip to MongoDB, so that many are claimed at once.
 * @module
 */

/** Milliseconds: as many tasks are claimed ahead as were begun in such a time of late. */
const AHEAD = 100;
/** Tasks that are claimed ahead at most. */
const MOST_AHEAD = 1000;

/** Measures how fast tasks are begun. */
export interface Pace {
  /** Counts tasks that begin now. */
  begun(tasks: number): void;
  /** How many tasks to claim ahead. */
  ahead(): number;
}

/** Creates a pace, 0 at first. */
export function createPace(): Pace {
  let count = 0;
  let since = performance.now();
  let ahead = 0;
  return {
    begun(tasks) {
      count += tasks;
    },
    ahead() {
      const passed = performance.now() - since;
      if (passed >= AHEAD) {
        ahead = Math.min(MOST_AHEAD, Math.floor(count * AHEAD / passed));
        count = 0;
        since += passed;
      }
      return ahead;
    },
  };
}
