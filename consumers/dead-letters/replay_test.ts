import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BadMessage, type Message } from "@event-sink/lib";
import { eventually } from "../../lib/testing.ts";
import { idsOf, many, numbered, setup, type Test } from "./testing.ts";

Deno.test("replay ends when another consumer takes the messages away", async () => {
  await using test = await setup();
  await test.fill(many);
  const other = await test.probe.model.createChannel();
  await other.prefetch(0);
  const replay = test.tool("replay");
  await eventually(async () => assert(await test.probe.count(test.queue) > 0));
  await other.consume(test.dlq, () => {});
  const { code, stdout } = await replay.ended();
  assert.equal(code, 0);
  const count = Number(/^Replayed (\d+) messages?/.exec(stdout)![1]);
  assert(count < many.length);
  await other.close();
  assert.equal(await test.probe.count(test.queue), count);
  await eventually(async () => assert.equal(await test.probe.count(test.dlq), many.length - count));
});

Deno.test("replay sends a message to the queue it came from alone, for a first attempt with its own properties", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  await channel.assertExchange(test.queue, "fanout", { durable: true });
  await channel.bindQueue(test.queue, test.queue, "");
  const { queue: copy } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(copy, test.queue, "");
  let good = false;
  const handled: Message[] = [];
  await test.consume((message) => {
    if (!good) throw new BadMessage("not yet");
    handled.push(message);
  });
  const body = Buffer.from([0xff, 0x00, 0xfe]);
  const properties = { messageId: "mine", timestamp: 1_700_000_000, contentType: "a/b", type: "t" };
  channel.publish(test.queue, "a.key", body, { ...properties, headers: { mine: [1, "x"] } });
  await test.ids(test.dlq, 1);
  good = true;
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`);
  await eventually(() => assert.equal(handled.length, 1));
  const message = handled[0]!;
  assert.equal(message.exchange, test.queue);
  assert.equal(message.routingKey, "a.key");
  assert.equal(message.attempt, 1);
  assert.deepEqual(Buffer.from(message.body), body);
  const { headers, deliveryMode } = message.properties;
  for (const [name, value] of Object.entries(properties)) {
    assert.equal(message.properties[name as keyof Message["properties"]], value);
  }
  assert.equal(deliveryMode, 2);
  assert.deepEqual(headers?.mine, [1, "x"]);
  assert.equal(headers?.["x-reason"], undefined);
  assert.equal(await test.probe.count(test.dlq), 0);
  assert.equal((await channel.checkQueue(copy)).messageCount, 1);
});

Deno.test("replay of messages that fail again looks at each of them once", async () => {
  await using test = await setup();
  const attempts = new Map<string, number>();
  await test.consume(({ properties, attempt }) => {
    assert.equal(attempt, 1);
    attempts.set(properties.messageId, (attempts.get(properties.messageId) ?? 0) + 1);
    throw new BadMessage("again");
  });
  const letters = numbered(2000);
  await test.fill(letters);
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Replayed 2000 messages/);
  const ids = await test.ids(test.dlq, 2000);
  assert.deepEqual(new Set(ids), new Set(idsOf(letters)));
  assert.deepEqual(new Set(attempts.values()), new Set([1]));
});

Deno.test("replay by id or reason leaves the others, in their order", async () => {
  await using test = await setup();
  // More than one batch of messages is held back.
  const letters = numbered(3000, (n) => ({ reason: n % 10 === 0 ? "user 7 unknown" : "other" }));
  await test.fill(letters);
  const byId = await test.tool("replay", "--id", "m1234").ended();
  assert.match(byId.stdout, /^Replayed 1 message from/);
  const byReason = await test.tool("replay", "--reason", "user 7").ended();
  assert.match(byReason.stdout, /^Replayed 300 messages from/);
  const [moved, stayed] = [[] as string[], [] as string[]];
  for (const { messageId, reason } of letters) {
    if (messageId !== "m1234") (reason === "other" ? stayed : moved).push(messageId!);
  }
  assert.deepEqual(await test.ids(test.dlq, stayed.length), stayed);
  assert.deepEqual(await test.ids(test.queue, moved.length + 1), ["m1234", ...moved]);
  const none = await test.tool("replay", "--id", "m1234").ended();
  assert.equal(none.code, 1);
  assert.match(none.stderr, /^There is no message 'm1234'/);
});

/** Waits until a replay of `many` is in the middle. */
async function inTheMiddle(test: Test): Promise<void> {
  await eventually(async () => assert(await test.probe.count(test.queue) > 500));
}

/** Every message is in one of the two queues, or in both; returns how many there are. */
async function nothingLost(test: Test): Promise<number> {
  return await eventually(async () => {
    const all = [...await test.look(test.dlq), ...await test.look(test.queue)];
    assert.equal(new Set(all.map(({ properties }) => properties.messageId)).size, many.length);
    return all.length;
  });
}

Deno.test("kill -9 in the middle of a replay loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  replay.kill("SIGKILL");
  assert.equal((await replay.ended()).signal, "SIGKILL");
  await eventually(async () => assert(await test.probe.count(test.dlq) > 0));
  await nothingLost(test);
});

Deno.test("a connection that breaks in the middle of a replay ends it with 1, and loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  test.cable.cut();
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^Replayed \d+ messages from/);
  assert.match(stderr, /Lost the connection to .* Reconnecting\n/);
  assert.match(stderr, /\nCannot read '.*': the connection was lost; replay again for the rest/);
  await nothingLost(test);
  assert.equal((await test.tool("replay").ended()).code, 0);
  assert.equal(await test.probe.count(test.dlq), 0);
  await nothingLost(test);
});

Deno.test("a broker that hangs in the middle of a replay ends it with 1, and loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay", "--timeout", "1");
  await inTheMiddle(test);
  test.cable.freeze();
  const { code, stderr } = await replay.ended();
  assert.equal(code, 1);
  assert.match(stderr, /no confirm within 1 s|does not answer/);
  test.cable.cut();
  await nothingLost(test);
});

Deno.test("Ctrl-C in the middle of a replay ends it with 0, each message in one queue", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  replay.kill("SIGINT");
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Replayed \d+ messages from .*\nStopped; /);
  assert.equal(await nothingLost(test), many.length);
  assert.notEqual(await test.probe.count(test.dlq), 0);
});

Deno.test("a message whose queue is gone stays, with 1, naming both; the others are replayed", async () => {
  await using test = await setup();
  const gone = `${test.queue}.gone`;
  // The same id twice: what comes back from the broker names nothing but it.
  await test.fill([
    { messageId: "a", from: gone },
    { messageId: "b" },
    { messageId: "a", from: gone },
    { messageId: "c", from: gone },
  ]);
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 1);
  assert.equal(stdout, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`);
  assert.equal(
    stderr,
    `Left 3 messages in ${test.dlq} (the first: a): Cannot publish: there is no queue '${gone}'\n`,
  );
  assert.deepEqual(await test.ids(test.dlq, 3), ["a", "a", "c"]);
});

Deno.test("a message of another program stays when it does not say where it came from", async () => {
  await using test = await setup();
  await test.fill([
    { messageId: "foreign", headers: {} },
    { messageId: "odd", headers: { "x-death": "often", "x-attempts": "many", "x-reason": 7 } },
    { messageId: "circle", from: test.dlq },
  ]);
  assert.match((await test.tool("show").ended()).stdout, /^foreign in .*\n +reason +\?\n/);
  const { code, stderr } = await test.tool("replay").ended();
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^Left 3 messages in .* \(the first: foreign\): it does not say which queue it came from\n$/,
  );
  assert.deepEqual(await test.ids(test.dlq, 3), ["foreign", "odd", "circle"]);
});

Deno.test("a message that RabbitMQ has dead-lettered goes back to its queue, uncounted", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  await channel.deleteQueue(test.queue);
  await channel.assertQueue(test.queue, {
    durable: true,
    arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": test.dlq },
  });
  await channel.assertExchange(test.queue, "topic", { durable: true });
  await channel.bindQueue(test.queue, test.queue, "#");
  channel.publish(test.queue, "a.key", Buffer.from("x"));
  const get = () =>
    eventually(async () => {
      const message = await channel.get(test.queue);
      assert(message);
      return message;
    });
  channel.reject(await get(), false);
  await eventually(async () => {
    assert.match(
      (await test.tool("show").ended()).stdout,
      new RegExp(
        `reason +rejected\n.*\n  from +queue '${test.queue}', exchange '${test.queue}', ` +
          "routing key 'a\\.key'\n",
      ),
    );
  });
  const { code, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  const { properties } = await get();
  assert.deepEqual({ ...properties.headers }, {
    "x-attempts": 0,
    "x-original-exchange": test.queue,
    "x-original-routing-key": "a.key",
    "x-original-queue": test.queue,
  });
});
