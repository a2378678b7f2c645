/** Events, errors and results that would take over the terminal of who looks at them. */
import assert from "node:assert/strict";
import { startTool } from "../lib/testing.ts";
import { inJson } from "./printable.ts";
import { hasPythonZmq, setup as setupRouter } from "./testing/router.ts";
import { setup as setupWorkers } from "./testing/worker.ts";

/** What must not be printed as it is: escapes, of one byte and of two, and a turn of the direction of writing. */
const raw = /(?!\n)[\p{Cc}\u202e]/u;
const attack = "\x1b[2J\x9b2J\u202e\x07";

Deno.test("worker and tasks print no control characters of events and errors, nor passwords", async () => {
  await using test = await setupWorkers({
    "mod.ts": `export const f = () => { throw new Error(${
      JSON.stringify(`${attack}\n [x] forged mongodb://u:hunter2@h`)
    }); };`,
  });
  const event_type = `${attack}\n [x] forged`;
  const worker = await test.worker(["--max-attempts", "1"]);
  const [id] = await test.add([{ driver: "func", handler: "mod.f" }], attack, event_type);
  await test.result(id!);
  await worker.seen(/mod\.f for .*failed/);
  const tasks = async (...args: string[]) => {
    const env = { MONGO_URL: test.mongoUrl };
    await using tool = startTool("reactor", "tasks", [...args, "-c", test.config], env);
    return (await tool.ended()).stdout;
  };
  const [list, show, listJson, showJson] = await Promise.all([
    tasks("list"),
    tasks("show"),
    tasks("list", "--json"),
    tasks("show", "--json"),
  ]);
  for (const output of [worker.output.stdout, list, show, listJson, showJson]) {
    assert.match(output, /forged/);
    assert.doesNotMatch(output, raw);
    assert.doesNotMatch(output, /^ \[x\] forged/m);
  }
  for (const output of [worker.output.stdout, list]) assert.doesNotMatch(output, /hunter2/);
  assert.equal(JSON.parse(showJson).event.event_type, event_type);
  assert.equal(JSON.parse(listJson).event_type, event_type);
});

Deno.test({
  name: "fire prints an event that means the same without its control characters",
  ignore: !await hasPythonZmq(),
}, async () => {
  await using test = await setupRouter();
  await test.router();
  const req = await test.fire("-e", attack, "-d", JSON.stringify(attack));
  assert.equal(JSON.parse(req.stdout).payload, attack);
  const pull = test.uri(test.ports.pull);
  const push = await test.fire("-e", attack, "-z", "PUSH", "-u", pull);
  assert.match(push.stdout, /Sent/);
  for (const { stdout } of [req, push]) assert.doesNotMatch(stdout, raw);
});

Deno.test("inJson() keeps the meaning", () => {
  const value = { [attack]: [`\\${attack}`, "\n"] };
  const json = inJson(JSON.stringify(value, null, 2));
  assert.doesNotMatch(json, raw);
  assert.deepEqual(JSON.parse(json), value);
});
