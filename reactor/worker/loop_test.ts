import assert from "node:assert/strict";
import type { WorkerQueue } from "../queue/worker_queue.ts";
import { runWorker } from "./loop.ts";

Deno.test("a worker ends when MongoDB refuses what it asks, rather than asking for ever", async () => {
  const refusal = Object.assign(new Error("not authorized on db"), { code: 13 });
  const queue = {
    lease: 30_000,
    locks: { taken: () => new Map(), forget() {} },
    tasks: {
      find() {
        throw refusal;
      },
    },
  } as unknown as WorkerQueue;
  const stop = new AbortController();
  const log = {
    debug() {},
    info() {},
    warn() {},
    setLevel() {},
    written: () => Promise.resolve(),
  };
  const limit = setTimeout(() => stop.abort(), 10_000);
  const working = runWorker({
    queue,
    drivers: { batchSize: () => 1, async execute() {}, [Symbol.dispose]() {} },
    concurrency: 1,
    follow: async () => {},
    written() {},
    signal: stop.signal,
    log,
  });
  await assert.rejects(working, /^Error: Cannot use MongoDB: not authorized on db$/);
  clearTimeout(limit);
});
