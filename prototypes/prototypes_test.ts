import assert from "node:assert/strict";
import { connectProbe, eventually, unique } from "../lib/testing.ts";
import { ready, setup } from "./testing.ts";

for (const pattern of ["send-recv", "worker-queue", "fanout-exchange"]) {
  Deno.test(`${pattern}: what is sent before recv starts is received, and a pika program's plain queue will do`, async () => {
    await using test = await setup();
    const text = `words ${crypto.randomUUID()}`;
    const sent = await test.tool(pattern, "send", text).ended();
    assert.deepEqual(sent, { code: 0, signal: null, stdout: ` [x] Sent '${text}'\n`, stderr: "" });
    const recv = test.tool(pattern, "recv");
    await recv.seen(ready);
    await recv.seen(new RegExp(` \\[x\\] Received '${text}'\n \\[x\\] Done\n`));
    const queues = {
      "send-recv": "hello",
      "worker-queue": "task_queue",
      "fanout-exchange": "logs.default",
    };
    await using probe = await connectProbe(test.amqpUrl);
    await probe.channel.assertQueue(queues[pattern as keyof typeof queues], { durable: true });
    recv.kill("SIGINT");
    assert.equal((await recv.ended()).code, 0);
  });
}

Deno.test("worker-queue: two workers share the queue fairly, one task at a time", async () => {
  await using test = await setup();
  const workers = [test.tool("worker-queue", "recv"), test.tool("worker-queue", "recv")];
  for (const worker of workers) await worker.seen(ready);
  const mark = crypto.randomUUID();
  // The long task keeps one worker busy: all others go to the other one.
  await test.tool("worker-queue", "send", `${mark} long..`).ended();
  await eventually(() =>
    assert(workers.some(({ output }) => output.stdout.includes(`${mark} long`)))
  );
  for (const name of ["a", "b", "c"]) {
    await test.tool("worker-queue", "send", `${mark} ${name}`).ended();
  }
  const done = (stdout: string) =>
    [...stdout.matchAll(new RegExp(`Received '${mark} (\\w+)\\.*'`, "g"))].map(([, name]) => name);
  await eventually(() => {
    const [first, second] = workers.map(({ output }) => done(output.stdout));
    const [busy, free] = first!.includes("long") ? [first, second] : [second, first];
    assert.deepEqual(busy, ["long"]);
    assert.deepEqual(free, ["a", "b", "c"]);
  });
});

Deno.test("fanout-exchange: every queue gets every message", async () => {
  await using test = await setup();
  const queues = [unique("logs"), unique("logs")];
  await using _cleanup = await connectProbe(test.amqpUrl, { queues });
  const receivers = queues.map((queue) => test.tool("fanout-exchange", "recv", "--queue", queue));
  for (const receiver of receivers) await receiver.seen(ready);
  const text = `words ${crypto.randomUUID()}`;
  await test.tool("fanout-exchange", "send", text).ended();
  for (const receiver of receivers) await receiver.seen(new RegExp(`Received '${text}'`));
});
