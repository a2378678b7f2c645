import assert from "node:assert/strict";
import {
  bytes,
  collect,
  getAll,
  type Message,
  publishAll,
  setup,
  texts,
  until,
} from "./harness.ts";

Deno.test("a queue delivers in order, once, with the properties as they were", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  const options = {
    contentType: "text/plain",
    contentEncoding: "utf-8",
    headers: { a: 1, b: "two", c: [true, null, { d: -5.5 }], big: 2 ** 40 },
    persistent: true,
    priority: 3,
    correlationId: "c",
    replyTo: "r",
    expiration: "60000",
    messageId: "m",
    timestamp: 1_700_000_000,
    type: "t",
    userId: "guest",
    appId: "a",
  };
  await publishAll(channel, "", queue, ["one", "", "three"], options);
  const { messages } = await collect(channel, queue);
  await until(() => messages.length === 3);
  assert.deepEqual(texts(messages), ["one", "", "three"]);
  const { fields, properties } = messages[0]!;
  assert.equal(fields.redelivered, false);
  assert.equal(fields.exchange, "");
  assert.equal(fields.routingKey, queue);
  const { persistent: _, ...sent } = options;
  assert.deepEqual(
    Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)),
    { ...sent, deliveryMode: 2 },
  );
});

Deno.test("bodies of all sizes come through unchanged", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { durable: true });
  const sizes = [0, 1, 2047, 2048, 4087, 131064, 131065, 300_000, 5_000_000];
  const bodies = sizes.map((size) => bytes("x".repeat(size)).map((_, i) => (i * 31 + size) % 256));
  for (const body of bodies) channel.sendToQueue(queue, body as never, { persistent: true });
  await channel.waitForConfirms();
  for (const body of bodies) {
    const message = await channel.get(queue, { noAck: true });
    assert.ok(message);
    assert.equal(message.content.length, body.length);
    assert.ok(message.content.equals(body));
  }
});

Deno.test("get returns the count behind it, and false from an empty queue", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["a", "b", "c"]);
  const first = await channel.get(queue);
  assert.ok(first);
  assert.equal(first.fields.messageCount, 2);
  channel.ack(first);
  assert.deepEqual(texts(await getAll(channel, queue)), ["b", "c"]);
  assert.equal(await channel.get(queue), false);
});

Deno.test("requeued messages go back to where they were, redelivered", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2", "3", "4", "5"]);
  const got: Message[] = [];
  for (let i = 0; i < 4; i++) got.push(await channel.get(queue) as never);
  channel.nack(got[2]!, false, true);
  channel.reject(got[0]!, true);
  channel.nack(got[3]!, false, true);
  channel.nack(got[1]!, false, true);
  const again = await getAll(channel, queue);
  assert.deepEqual(texts(again), ["1", "2", "3", "4", "5"]);
  assert.deepEqual(again.map((m) => m.fields.redelivered), [true, true, true, true, false]);
});

Deno.test("ack with multiple takes everything up to the tag", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2", "3", "4"]);
  const { messages } = await collect(channel, queue);
  await until(() => messages.length === 4);
  channel.ack(messages[2]!, true);
  await channel.close();
  await until(async () => await s.count(queue) === 1);
  const other = await s.channel();
  assert.deepEqual(texts(await getAll(other, queue)), ["4"]);
});

Deno.test("closing a channel gives back what was not acknowledged, in order", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  const { messages } = await collect(channel, queue);
  await until(() => messages.length === 3);
  channel.ack(messages[1]!);
  await channel.close();
  const other = await s.channel();
  await until(async () => await s.count(queue) === 2);
  const again = await getAll(other, queue);
  assert.deepEqual(texts(again), ["1", "3"]);
  assert.ok(again.every((m) => m.fields.redelivered));
});

Deno.test("recover gives everything back", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2"]);
  await channel.get(queue);
  await channel.get(queue);
  await channel.recover();
  const again = await getAll(channel, queue);
  assert.deepEqual(texts(again), ["1", "2"]);
  assert.ok(again.every((m) => m.fields.redelivered));
});

Deno.test("purge removes what is ready and tells how many", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  const held = await channel.get(queue);
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 2 });
  channel.nack(held as never, false, true);
  assert.deepEqual(texts(await getAll(channel, queue)), ["1"]);
});

Deno.test("delete tells how many messages went; deleting again succeeds", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1", "2"]);
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 2 });
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 0 });
});

Deno.test("a server-named queue has a name of amq.gen- and is the last declared", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  assert.match(queue, /^amq\.gen-[\w-]{22}$/);
  // The empty name means the queue last declared.
  await channel.bindQueue("", "amq.direct", "");
  channel.publish("amq.direct", queue, bytes("x"));
  await until(async () => await channel.get("") !== false);
});

Deno.test("an exclusive queue goes with its connection", async () => {
  await using s = await setup();
  const connection = await s.connect();
  const channel = await connection.createChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { exclusive: true });
  await connection.close();
  const other = await s.channel();
  await until(async () => {
    const close = await s.closeOfChannel((c) =>
      c.checkQueue(queue).then(() => c.checkQueue("x" + queue))
    );
    return close.text.includes(`'${queue}'`);
  });
  await other.assertQueue(queue, { exclusive: true });
});

Deno.test("an auto-delete queue goes with its last consumer, not before its first", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const queue = s.name();
  await channel.assertQueue(queue, { autoDelete: true });
  const a = await collect(channel, queue);
  const b = await collect(channel, queue);
  assert.equal((await channel.checkQueue(queue)).consumerCount, 2);
  await channel.cancel(a.tag);
  assert.equal((await channel.checkQueue(queue)).consumerCount, 1);
  await channel.cancel(b.tag);
  await until(async () => {
    const close = await s.closeOfChannel((c) =>
      c.checkQueue(queue).then(() => c.checkQueue("x" + queue))
    );
    return close.text.includes(`'${queue}'`);
  });
});

Deno.test("messages expire by the queue's TTL, and by their own", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name(), other = s.name();
  await channel.assertQueue(queue, { messageTtl: 50 });
  await channel.assertQueue(other);
  await publishAll(channel, "", queue, ["a", "b"]);
  await publishAll(channel, "", other, ["a"], { expiration: "50" });
  await publishAll(channel, "", other, ["stays"]);
  await publishAll(channel, "", other, ["behind"], { expiration: "1" });
  await until(async () => await s.count(queue) === 0);
  // Only what is at the head expires.
  await until(async () => await s.count(other) === 2);
  assert.deepEqual(texts(await getAll(channel, other)), ["stays"]);
});

Deno.test("a TTL of 0 reaches only a consumer that is waiting", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["lost"], { expiration: "0" });
  const { messages } = await collect(channel, queue, { noAck: true });
  await publishAll(channel, "", queue, ["found"], { expiration: "0" });
  await until(() => messages.length > 0);
  assert.deepEqual(texts(messages), ["found"]);
});

Deno.test("a queue that is not used for x-expires goes", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const queue = s.name();
  await channel.assertQueue(queue, { expires: 100 });
  await channel.checkQueue(queue);
  await new Promise((resolve) => setTimeout(resolve, 1000)); // Looking would be use.
  const close = await s.closeOfChannel((c) => c.checkQueue(queue));
  assert.equal(close.code, 404);
});

Deno.test("max-length drops from the head, max-length-bytes too", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name(), sized = s.name();
  await channel.assertQueue(queue, { maxLength: 2 });
  await channel.assertQueue(sized, { arguments: { "x-max-length-bytes": 10 } });
  await publishAll(channel, "", queue, ["1", "2", "3", "4"]);
  await publishAll(channel, "", sized, ["aaaa", "bbbb", "cccc", "dd"]);
  assert.deepEqual(texts(await getAll(channel, queue)), ["3", "4"]);
  assert.deepEqual(texts(await getAll(channel, sized)), ["bbbb", "cccc", "dd"]);
});

Deno.test("reject-publish nacks what a full queue cannot take", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { maxLength: 2, arguments: { "x-overflow": "reject-publish" } });
  const outcomes: string[] = [];
  for (const body of ["1", "2", "3", "4"]) {
    channel.sendToQueue(queue, bytes(body), {}, (error) => {
      outcomes.push(`${body} ${error ? "nack" : "ack"}`);
    });
    await until(() => outcomes.at(-1)?.startsWith(body) ?? false);
  }
  assert.deepEqual(outcomes, ["1 ack", "2 ack", "3 nack", "4 nack"]);
  assert.deepEqual(texts(await getAll(channel, queue)), ["1", "2"]);
});

Deno.test("priorities are delivered highest first, in order within one", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { maxPriority: 5 });
  for (
    const [body, priority] of [["a", 1], ["b", 5], ["c", 9], ["d", 0], ["e", 5], ["f", 1]] as const
  ) {
    await publishAll(channel, "", queue, [body], { priority });
  }
  await publishAll(channel, "", queue, ["g"]);
  const held = await channel.get(queue);
  channel.nack(held as never, false, true);
  assert.deepEqual(texts(await getAll(channel, queue)), ["b", "c", "e", "a", "f", "d", "g"]);
});

Deno.test("basic.get does not count what has expired behind its message", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["1"]);
  await publishAll(channel, "", queue, ["2", "3"], { expiration: "1" });
  await publishAll(channel, "", queue, ["4"]);
  await new Promise((resolve) => setTimeout(resolve, 20)); // until they have expired
  const message = await channel.get(queue);
  assert.ok(message);
  assert.equal(message.fields.messageCount, 1);
});
