/**
 * What a tool counts: plain numbers, so that counting costs nothing. Prometheus' library is loaded when they are asked for
 * (`lib/http/exposition.ts`).
 * @module
 */

/** Names and values that tell apart what one metric counts, such as the queue. */
export type Labels = Readonly<Record<string, string>>;

/** A metric, with one set of labels (https://prometheus.io/docs/concepts/metric_types/). */
export type Metric = {
  /** By https://prometheus.io/docs/practices/naming/; where OpenTelemetry has a name, that. */
  readonly name: string;
  readonly help: string;
  readonly labels: Labels;
} & ({ readonly kind: "counter" | "gauge"; readonly read: () => number } | Histogram);

/** What a histogram has counted. */
export interface Histogram {
  /** What tells it from a number. */
  readonly kind: "histogram";
  /** Upper bounds of its buckets, the smallest first. */
  readonly bounds: readonly number[];
  /** How many values came into each bucket, and into none of them at the end. */
  readonly counts: number[];
  /** The values' sum. */
  sum: number;
}

/** A number that only grows. */
export interface Counter {
  /** Add to it as to any number. */
  value: number;
}

/** Upper bounds of the buckets for durations, in seconds: a handler may be done in no time or work for an hour. */
export const DURATIONS: readonly number[] = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 30, 60, 300, 1800],
];

const known = new Map<string, unknown>();
const all = new Set<Metric>();

/** All metrics there are. */
export const metrics: ReadonlySet<Metric> = all;

/** Returns the counter of this name and these labels. */
export function counter(name: string, help: string, labels: Labels = {}): Counter {
  return once(name, labels, () => {
    const count = { value: 0 };
    all.add({ kind: "counter", name, help, labels, read: () => count.value });
    return count;
  });
}

/** Serves a number that is read when it is asked for, until it is disposed; those of one name and the same labels are added up. */
export function gauge(
  name: string,
  help: string,
  read: () => number,
  labels: Labels = {},
): Disposable {
  return reading({ kind: "gauge", name, help, labels, read });
}

/** As {@linkcode gauge}, of a metric of any kind that is read. */
export function reading(metric: Metric): Disposable {
  all.add(metric);
  return { [Symbol.dispose]: () => void all.delete(metric) };
}

/**
 * Returns the histogram of this name and these labels.
 *
 * @param bounds upper bounds of its buckets, the smallest first
 * @returns takes a value into it
 */
export function histogram(
  name: string,
  help: string,
  bounds: readonly number[],
  labels: Labels = {},
): (value: number) => void {
  const made = once(name, labels, () => {
    const counts = new Array<number>(bounds.length + 1).fill(0);
    const metric = { kind: "histogram" as const, name, help, labels, bounds, counts, sum: 0 };
    all.add(metric);
    return metric;
  });
  const { counts } = made;
  return (value) => {
    let index = 0;
    while (index < bounds.length && value > bounds[index]!) index++;
    counts[index]!++;
    made.sum += value;
  };
}

/** Adds up the time between starts and stops. */
export interface Stopwatch {
  /** Starts it, unless it runs. */
  start(): void;
  /** Stops it, if it runs. */
  stop(): void;
  /** How long it has run, in seconds. */
  readonly seconds: number;
}

/** Returns a stopwatch that does not run yet. */
export function createStopwatch(): Stopwatch {
  let since: number | undefined;
  let before = 0;
  const milliseconds = () => before + (since === undefined ? 0 : performance.now() - since);
  return {
    start: () => since ??= performance.now(),
    stop() {
      before = milliseconds();
      since = undefined;
    },
    get seconds() {
      return milliseconds() / 1000;
    },
  };
}

/** Who asks for the same metric again goes on with it: a consumer may end and another begin. */
function once<T>(name: string, labels: Labels, make: () => T): T {
  const key = JSON.stringify([name, labels]);
  const found = known.get(key) ?? make();
  known.set(key, found);
  return found as T;
}
