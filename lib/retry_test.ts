import assert from "node:assert/strict";
import type { ConsumeMessage } from "amqplib";
import { setup, text } from "./consume_testing.ts";
import { BadMessage, historyOf } from "./retry.ts";
import { eventually } from "./testing.ts";

Deno.test("consume() dead-letters a message whose handler throws BadMessage, with the reason", async () => {
  await using test = await setup("bad");
  const seen: string[] = [];
  const consumer = test.start((message) => {
    if (text(message) === "bad") throw new BadMessage("it is bad");
    seen.push(text(message));
  });
  test.send("bad", {
    messageId: "m1",
    contentType: "text/x",
    headers: { own: "kept", CC: ["elsewhere"] },
  });
  test.send("good");
  const dead = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(dead.content.toString(), "bad");
  assert.equal(dead.properties.messageId, "m1");
  assert.equal(dead.properties.contentType, "text/x");
  assert.equal(dead.properties.deliveryMode, 2);
  assert.deepEqual({ ...dead.properties.headers }, {
    "own": "kept",
    "x-attempts": 1,
    "x-reason": "it is bad",
    "x-original-exchange": "",
    "x-original-routing-key": test.queue,
    "x-original-queue": test.queue,
  });
  await eventually(() => assert.deepEqual(seen, ["good"]));
  await consumer.stopped();
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("consume() dead-letters a message without its headers when amqplib has read but cannot write them", async () => {
  await using test = await setup("unwritable");
  const seen: string[] = [];
  const consumer = test.start((message) => {
    if (text(message) === "fails") throw new Error("not now");
    seen.push(text(message));
  });
  test.send("fails", { messageId: "m1", headers: { low: { "!": "double", value: -1e300 } } });
  test.send("good");
  const dead = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(dead.content.toString(), "fails");
  assert.equal(dead.properties.messageId, "m1");
  assert.equal(dead.properties.headers?.low, undefined);
  assert.equal(
    dead.properties.headers?.["x-reason"],
    "not now (its headers cannot be passed on)",
  );
  await eventually(() => assert.deepEqual(seen, ["good"]));
  await consumer.stopped();
});

Deno.test("consume() retries any other error with growing delay, then dead-letters; the messages behind go on", async () => {
  await using test = await setup("retry");
  const tries: { attempt: number; at: number }[] = [];
  const passed: string[] = [];
  const consumer = test.start((message) => {
    if (text(message) !== "failing") return void passed.push(text(message));
    tries.push({ attempt: message.attempt, at: Date.now() });
    assert.equal(message.routingKey, test.queue);
    throw new Error("not now");
  }, { attempts: 4, retryDelay: 100 });
  test.send("failing", { messageId: "m2" });
  for (const follower of ["a", "b"]) test.send(follower);
  const dead = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(dead.properties.messageId, "m2");
  assert.equal(dead.properties.expiration, undefined);
  assert.equal(dead.properties.headers?.["x-attempts"], 4);
  assert.equal(dead.properties.headers?.["x-reason"], "not now");
  assert.deepEqual(tries.map(({ attempt }) => attempt), [1, 2, 3, 4]);
  const gaps = tries.slice(1).map(({ at }, index) => at - tries[index]!.at);
  // 100, 300 and 900 ms, each up to a fifth shorter; the clock counts whole milliseconds.
  assert(gaps[0]! >= 79 && gaps[1]! >= 239 && gaps[2]! >= 719, `${gaps}`);
  assert.deepEqual(passed, ["a", "b"]);
  await consumer.stopped();
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("consume() succeeds at a retry and leaves nothing behind", async () => {
  await using test = await setup("second");
  const attempts: number[] = [];
  const consumer = test.start(({ attempt }) => {
    attempts.push(attempt);
    if (attempt < 2) throw new Error("not now");
  });
  test.send("x");
  await eventually(() => assert.deepEqual(attempts, [1, 2]));
  await consumer.stopped();
  for (const queue of [test.queue, `${test.queue}.dlq`]) {
    assert.equal(await test.probe.count(queue), 0);
  }
});

Deno.test("consume() does not count the attempts of another queue", async () => {
  await using test = await setup("other");
  const attempts: number[] = [];
  const consumer = test.start(({ attempt }) => void attempts.push(attempt));
  test.send("x", { headers: { "x-attempts": 4, "x-original-queue": "another" } });
  test.send("y", { headers: { "x-attempts": "many", "x-original-queue": test.queue } });
  await eventually(() => assert.deepEqual(attempts, [1, 1]));
  await consumer.stopped();
});

Deno.test("consume() ends loudly, losing nothing, when a message can be neither retried nor dead-lettered", async () => {
  await using test = await setup("stuck");
  const retry = `${test.queue}.retry.1`;
  await test.probe.channel.assertQueue(retry, { durable: false }); // refuses the declaration that retrying needs
  const { running } = test.start(() => {
    throw new Error("not now");
  });
  test.send("precious");
  await assert.rejects(running, /inequivalent arg/);
  assert.equal((await test.probe.take(test.queue)).content.toString(), "precious");
});

Deno.test("consume() leaves what waits for a retry to the dead-letter queue when the queue is deleted meanwhile", async () => {
  await using test = await setup("missed");
  const failed = Promise.withResolvers<void>();
  const consuming = test.start(() => {
    failed.resolve();
    throw new Error("not today");
  }, { retryDelay: 500 });
  test.send("precious");
  await failed.promise;
  await eventually(async () => assert.equal(await test.probe.waiting(`${test.queue}.retry.1`), 1));
  await consuming.stopped();
  await test.probe.channel.deleteQueue(test.queue);
  const letter = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(letter.content.toString(), "precious");
  assert.equal(letter.properties.headers?.["x-original-queue"], test.queue);
});

Deno.test("consume() shows no password of a handler's error in the dead letter, and cuts it", async () => {
  await using test = await setup("secret");
  const consuming = test.start(() => {
    throw new BadMessage(`Cannot reach mongodb://user:geheim@host/db \x1b[2J${"x".repeat(2000)}`);
  });
  test.send("x");
  const reason = (await test.probe.take(`${test.queue}.dlq`)).properties.headers?.["x-reason"];
  await consuming.stopped();
  assert.match(
    reason,
    /^Cannot reach mongodb:\/\/\*\*\*@host\/db \\x1b\[2Jx{900,}\.\.\. \(\d+ characters\)$/,
  );
});

Deno.test("forged counts of attempts and redeliveries do not count", () => {
  const queue = "work";
  for (const forged of [-5, 1.5, "abc", true, NaN, 1e300]) {
    const headers = { "x-original-queue": queue, "x-attempts": forged, "x-redeliveries": forged };
    const raw = { fields: { exchange: "", routingKey: queue }, properties: { headers } };
    const { attempt, redeliveries } = historyOf(raw as unknown as ConsumeMessage, queue);
    assert.deepEqual([attempt, redeliveries], [1, 0], `${forged}`);
  }
});

Deno.test("consume() declares a retry queue again that was deleted meanwhile", async () => {
  await using test = await setup("deleted");
  const seen: number[] = [];
  const consuming = test.start(async ({ attempt }) => {
    seen.push(attempt);
    if (attempt > 1) return;
    if (seen.length > 1) await test.probe.channel.deleteQueue(`${test.queue}.retry.1`);
    throw new Error("again");
  });
  test.send("first");
  await eventually(() => assert.deepEqual(seen, [1, 2]));
  test.send("second");
  await eventually(() => assert.deepEqual(seen, [1, 2, 1, 2]));
  await consuming.stopped();
});
