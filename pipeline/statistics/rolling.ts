/**
 * Durations of the last minutes: counted in slots of time and in classes of size, so that neither their number nor reading them grows with the
 * number of tasks.
 * @module
 */

/** How long something took, in seconds. */
export interface Durations {
  mean: number;
  p50: number;
  p95: number;
  max: number;
}

/** Minutes that are looked back at. */
export const windows = [1, 5, 60] as const;

/** Durations that are forgotten as time passes. */
export interface RollingDurations {
  /**
   * Counts a duration; one that became known too long ago is left out.
   *
   * @param time when it became known, in milliseconds since the epoch
   * @param took milliseconds
   */
  add(time: number, took: number): void;
  /** The durations that became known in the last minutes, percentiles to half a percent; undefined when there are none. */
  last(minutes: number): Durations | undefined;
}

/** Milliseconds of a slot. */
const SLOT = 10_000;
const SLOTS_PER_MINUTE = 60_000 / SLOT;
/** How much larger the durations of the next class are. */
const GROWTH = 1.005;

interface Slot {
  sum: number;
  classes: Map<number, Class>;
}
interface Class {
  count: number;
  /** The largest duration. */
  most: number;
}

/** Returns an empty one. */
export function createRollingDurations(): RollingDurations {
  const slots = new Map<number, Slot>();
  const slotOf = (time: number) => Math.floor(time / SLOT);
  const firstOf = (minutes: number) => slotOf(Date.now()) - minutes * SLOTS_PER_MINUTE;

  function open(number: number): Slot {
    const first = firstOf(Math.max(...windows));
    for (const old of slots.keys()) if (old < first) slots.delete(old);
    const slot = { sum: 0, classes: new Map() };
    slots.set(number, slot);
    return slot;
  }
  return {
    add(time, took) {
      const number = slotOf(time);
      // Nor those of a clock that is far ahead.
      if (number < firstOf(Math.max(...windows)) || time > Date.now() + 60_000) return;
      const slot = slots.get(number) ?? open(number);
      slot.sum += took;
      count(slot.classes, Math.round(Math.log(1 + took) / Math.log(GROWTH)), 1, took);
    },
    last(minutes) {
      const first = firstOf(minutes);
      const classes = new Map<number, Class>();
      let sum = 0;
      for (const [number, slot] of slots) {
        if (number < first) continue;
        sum += slot.sum;
        for (const [size, each] of slot.classes) count(classes, size, each.count, each.most);
      }
      return durationsOf([...classes].sort(([a], [b]) => a - b).map(([, each]) => each), sum);
    },
  };
}

function count(classes: Map<number, Class>, size: number, more: number, most: number): void {
  const found = classes.get(size);
  if (!found) classes.set(size, { count: more, most });
  else {
    found.count += more;
    found.most = Math.max(found.most, most);
  }
}

/** @param classes by size, the smallest first */
function durationsOf(classes: Class[], sum: number): Durations | undefined {
  const total = classes.reduce((total, { count }) => total + count, 0);
  if (total === 0) return undefined;
  const seconds = (milliseconds: number) => Math.round(milliseconds) / 1000;
  function share(part: number): number {
    let left = Math.floor((total - 1) * part);
    return seconds(classes.find(({ count }) => (left -= count) < 0)!.most);
  }
  return { mean: seconds(sum / total), p50: share(0.5), p95: share(0.95), max: share(1) };
}
