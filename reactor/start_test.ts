/** MongoDB goes away in the middle of a start: each tool waits for it, and goes on. */
import assert from "node:assert/strict";
import { type Running, startTool } from "../lib/testing.ts";
import { setup as setupRouter } from "./testing/router.ts";
import { layTripwire } from "./testing/tripwire.ts";
import { setup as setupWorkers } from "./testing/worker.ts";

/** Starts a tool whose MongoDB goes away when it says the word, and waits until it is ready nevertheless. */
async function startThrough(
  mongoUrl: string,
  word: string,
  start: (mongoUrl: string) => Running,
  ready: RegExp,
) {
  await using wire = layTripwire(mongoUrl, word);
  await using tool = start(wire.url);
  await Promise.race([
    wire.tripped,
    tool.ended().then(({ stderr }) => assert.fail(`it never came to ${word}: ${stderr}`)),
  ]);
  await tool.seen(/Cannot use MongoDB: .*Waiting until/);
  wire.repair();
  await tool.seen(ready);
  tool.kill("SIGTERM");
  const { code, stderr } = await tool.ended();
  assert.equal(code, 0, stderr);
}

Deno.test("router: MongoDB goes away during the start", async () => {
  for (const word of ["createIndexes", "counters"]) {
    await using test = await setupRouter({ journal: true });
    const start = (url: string) =>
      startTool("reactor", "router", ["-c", test.config], { MONGO_URL: url });
    await startThrough(test.mongoUrl, word, start, /Routing events/);
  }
});

Deno.test("sub: MongoDB goes away during the start", async () => {
  await using test = await setupWorkers();
  const filters = `${test.directory}/filters.json`;
  await Deno.writeTextFile(filters, "{}");
  for (const word of ["createIndexes", "wakeups", "counters", "findAndModify"]) {
    const start = (url: string) =>
      startTool("reactor", "sub", ["-c", test.config, "-e", filters], { MONGO_URL: url });
    await startThrough(test.mongoUrl, word, start, /Waiting for events/);
  }
});

Deno.test("worker: MongoDB goes away during the start", async () => {
  await using test = await setupWorkers();
  const args = ["-c", test.config, "--event-handlers", `${test.directory}/handlers`];
  for (const word of ["createIndexes", "wakeups"]) {
    const start = (url: string) => startTool("reactor", "worker", args, { MONGO_URL: url });
    await startThrough(test.mongoUrl, word, start, /Waiting for tasks/);
  }
});
