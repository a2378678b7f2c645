import assert from "node:assert/strict";
import { eventually, startTool } from "../lib/testing.ts";
import { isReady, metric, notReady, statusOf } from "../lib/status_testing.ts";
import { freePort, setup as setupRouter } from "./testing/router.ts";
import { setup as setupWorkers } from "./testing/worker.ts";

Deno.test("a router is ready while its journal can be written to", async () => {
  await using test = await setupRouter({ journal: true });
  const router = await test.router("--status-port", "0");
  const url = await statusOf(router);
  await isReady(url);
  await test.fire("-e", "zmq.test", "-d", "{}");
  const sent = 'messaging_client_sent_messages_total{messaging_system="zeromq"}';
  assert.equal(await metric(url, sent), 1);
  test.cable.cut("down");
  await notReady(url, /mongodb:/, 8000);
  test.cable.plug();
  await isReady(url);
});

Deno.test("a subscriber is ready while it is connected to the router and to MongoDB", async () => {
  await using workers = await setupWorkers({});
  await using test = await setupRouter();
  const filters = `${workers.directory}/event-handlers.json`;
  await Deno.writeTextFile(filters, "{}");
  const flags = ["-c", workers.config, "-e", filters, "-u", test.uri(test.ports.pub)];
  const env = { MONGO_URL: workers.cable.url };
  await using sub = startTool("reactor", "sub", [...flags, "--status-port", "0"], env);
  const url = await statusOf(sub);
  await notReady(url, /no connection to tcp:/, 8000);
  const router = await test.router();
  await isReady(url);
  router.kill("SIGKILL");
  await notReady(url, /no connection to tcp:/, 8000);
  await test.router();
  await isReady(url);
  workers.cable.freeze();
  await notReady(url, /mongodb:/, 8000);
  workers.cable.thaw();
  await isReady(url);
});

Deno.test("a worker is ready while MongoDB answers, and counts its attempts", async () => {
  await using test = await setupWorkers({
    "mod.ts": "export const f = () => 1; export const bad = () => { throw new Error('no'); };",
  });
  const worker = await test.worker(
    ["--status-port", `127.0.0.1:${freePort()}`, "--max-attempts", "1"],
    test.cable.url,
  );
  const url = await statusOf(worker);
  await isReady(url);
  const entries = ["mod.f", "mod.f", "mod.bad"].map((handler) => ({ driver: "func", handler }));
  for (const id of await test.add(entries)) await test.result(id);
  await eventually(async () => {
    assert.equal(await metric(url, 'event_sink_attempts_total{status="done"}'), 2);
    assert.equal(await metric(url, 'event_sink_attempts_total{status="failed"}'), 1);
    assert.equal(await metric(url, "event_sink_leases"), 0);
  });
  test.cable.cut("down");
  await notReady(url, /mongodb:|MongoDB is away/, 8000);
  test.cable.plug();
  await isReady(url);
});
