/**
 * The metrics as text for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * @module
 */
import process from "node:process";
import { type Metric as PrometheusMetric, Registry } from "prom-client";
import { type Metric, metrics } from "../metrics.ts";

type Value = { value: number; labels: Record<string, string | number>; metricName?: string };

/** The content type of the text. */
export const contentType: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** Returns all metrics as text, with those of the process. */
export async function metricsText(): Promise<string> {
  const registry = new Registry();
  for (const [name, group] of Map.groupBy([...metrics, ...ofProcess()], ({ name }) => name)) {
    const { kind, help } = group[0]!;
    // What the library asks of a metric of its own: https://github.com/siimon/prom-client/blob/v15.1.3/lib/registry.js
    const metric = { name, get: () => ({ name, help, type: kind, values: valuesOf(group) }) };
    registry.registerMetric(metric as unknown as PrometheusMetric);
  }
  return await registry.metrics();
}

/** Values of the same labels are added up: a tool may have two publishers. */
function valuesOf(group: Metric[]): Value[] {
  const values = new Map<string, Value>();
  for (const metric of group) {
    const { labels } = metric;
    if (metric.kind === "histogram") {
      for (const value of histogramValues(metric)) values.set(`${values.size}`, value);
      continue;
    }
    const value = metric.read();
    if (Number.isNaN(value)) continue; // not known
    const key = JSON.stringify(labels);
    values.set(key, { labels, value: value + (values.get(key)?.value ?? 0) });
  }
  return [...values.values()];
}

/** Each bucket counts what is at most its bound. */
function histogramValues(
  { name, labels, bounds, counts, sum }: Extract<Metric, { kind: "histogram" }>,
): Value[] {
  let count = 0;
  const buckets = counts.map((more, index) => ({
    metricName: `${name}_bucket`,
    labels: { le: bounds[index] ?? "+Inf", ...labels },
    value: count += more,
  }));
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

const started = Date.now() / 1000 - performance.now() / 1000;

/** By https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics; the library's own need more permissions. */
function ofProcess(): Metric[] {
  const { rss, heapUsed } = Deno.memoryUsage();
  const { user, system } = process.cpuUsage();
  const one = (kind: "counter" | "gauge", name: string, help: string, value: number): Metric => ({
    ...{ kind, name, help, labels: {}, read: () => value },
  });
  return [
    one("counter", "process_cpu_seconds_total", "CPU time", (user + system) / 1e6),
    one("gauge", "process_resident_memory_bytes", "Resident memory", rss),
    one("gauge", "nodejs_heap_size_used_bytes", "JavaScript heap in use", heapUsed),
    one("gauge", "process_start_time_seconds", "When it was started, since the epoch", started),
  ];
}
