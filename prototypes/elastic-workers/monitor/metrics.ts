/**
 * What the monitor knows of an app, for Prometheus.
 * @module
 */
import { gauge } from "@event-sink/lib";
import type { Measurements } from "./meter.ts";

/** What was measured, and what follows from it. */
type Sample = Measurements & { wanted: number };

/** Serves the latest numbers of an app, until it is disposed; those that are not known are missing. */
export function measureApp(appId: string, latest: () => Sample | undefined): Disposable {
  const measured = new DisposableStack();
  function one(name: string, help: string, value: (sample: Sample) => number | undefined | null) {
    const read = () => {
      const sample = latest();
      return sample ? value(sample) ?? NaN : NaN;
    };
    measured.use(gauge(`elastic_${name}`, help, read, { app_id: appId }));
  }
  one("workers_wanted", "Workers that the law asks for", ({ wanted }) => wanted);
  one("workers", "Consumers of the upload queue", ({ workers }) => workers);
  one("waiting", "Requests that no worker has taken", ({ waiting }) => waiting);
  one("busy", "Uploads in hand", ({ busy }) => busy);
  one("arrival_rate", "Requests per second", ({ arrivalRate }) => arrivalRate);
  one("service_time", "Mean seconds of an upload", ({ serviceTime }) => serviceTime);
  one(
    "response_time_p95",
    "95th percentile of the seconds from request to upload",
    ({ p95 }) => p95,
  );
  return measured;
}
