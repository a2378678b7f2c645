import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import {
  bytes,
  collect,
  type Message,
  publishAll,
  setup,
  texts,
  until,
  within,
} from "./harness.ts";
import { Wire } from "./wire.ts";

Deno.test("prefetch bounds what each consumer has in hand", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await channel.prefetch(2);
  const a = await collect(channel, queue);
  const b = await collect(channel, queue);
  await publishAll(channel, "", queue, ["1", "2", "3", "4", "5"]);
  await until(() => a.messages.length + b.messages.length === 4);
  assert.equal(await s.count(queue), 1);
  assert.deepEqual([texts(a.messages), texts(b.messages)], [["1", "3"], ["2", "4"]]);
  channel.ack(b.messages[0]!);
  await until(() => b.messages.length === 3);
  assert.deepEqual(texts(b.messages), ["2", "4", "5"]);
});

Deno.test("a global prefetch bounds the whole channel", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await channel.prefetch(3, true);
  const a = await collect(channel, queue);
  const b = await collect(channel, queue);
  await publishAll(channel, "", queue, ["1", "2", "3", "4", "5"]);
  await until(() => a.messages.length + b.messages.length === 3);
  await until(async () => await s.count(queue) === 2);
  channel.ack(a.messages[0]!);
  await until(() => a.messages.length + b.messages.length === 4);
  assert.equal(await s.count(queue), 1);
});

Deno.test("prefetch does not bound a consumer without acknowledgement", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await channel.prefetch(1);
  const { messages } = await collect(channel, queue, { noAck: true });
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  await until(() => messages.length === 3);
});

Deno.test("consumers take turns", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  const consumers: Awaited<ReturnType<typeof collect>>[] = [];
  for (let i = 0; i < 3; i++) consumers.push(await collect(channel, queue));
  await publishAll(channel, "", queue, ["1", "2", "3", "4", "5", "6"]);
  await until(() => consumers.every(({ messages }) => messages.length === 2));
  assert.deepEqual(consumers.map(({ messages }) => texts(messages)), [
    ["1", "4"],
    ["2", "5"],
    ["3", "6"],
  ]);
});

Deno.test("a consumer of higher priority comes first while it has room", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  await channel.prefetch(2);
  const low = await collect(channel, queue);
  const high = await collect(channel, queue, { priority: 10 });
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  await until(() => low.messages.length === 1);
  assert.deepEqual(texts(high.messages), ["1", "2"]);
  assert.deepEqual(texts(low.messages), ["3"]);
});

Deno.test("a cancelled consumer gets nothing more; what it has can still be acknowledged", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  const { messages, tag } = await collect(channel, queue);
  await publishAll(channel, "", queue, ["1"]);
  await until(() => messages.length === 1);
  await channel.cancel(tag);
  await publishAll(channel, "", queue, ["2"]);
  channel.ack(messages[0]!);
  await channel.checkQueue(queue);
  await channel.close();
  assert.deepEqual(texts(messages), ["1"]);
  assert.equal(await s.count(queue), 1);
});

Deno.test("a consumer is told when its queue is deleted", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const queue = s.name();
  await channel.assertQueue(queue);
  const consumer = await collect(channel, queue);
  await (await s.channel()).deleteQueue(queue);
  await until(() => consumer.cancelled());
  // The channel lives on.
  await channel.assertQueue(queue);
});

Deno.test("a single active consumer gets everything, the next takes over", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { arguments: { "x-single-active-consumer": true } });
  const a = await collect(channel, queue, { noAck: true });
  const b = await collect(channel, queue, { noAck: true });
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  await until(() => a.messages.length === 3);
  await channel.cancel(a.tag);
  await publishAll(channel, "", queue, ["4"]);
  await until(() => b.messages.length === 1);
  assert.deepEqual(texts(b.messages), ["4"]);
});

Deno.test("an exclusive consumer leaves the queue free when it goes", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const queue = s.name();
  await channel.assertQueue(queue);
  const { tag } = await collect(channel, queue, { exclusive: true });
  await channel.cancel(tag);
  await collect(channel, queue);
});

Deno.test("direct reply-to brings the answer to the channel that asked", async () => {
  await using s = await setup();
  const server = await s.channel();
  const queue = s.name();
  await server.assertQueue(queue);
  await server.consume(queue, (message) => {
    server.sendToQueue(message!.properties.replyTo, message!.content, {
      correlationId: message!.properties.correlationId,
    });
    server.ack(message!);
  });
  const client = await s.channel();
  const answers = await collect(client, "amq.rabbitmq.reply-to", { noAck: true });
  client.sendToQueue(queue, bytes("ping"), {
    replyTo: "amq.rabbitmq.reply-to",
    correlationId: "7",
  });
  await until(() => answers.messages.length === 1);
  const [answer] = answers.messages;
  assert.deepEqual(texts([answer!]), ["ping"]);
  assert.equal(answer!.properties.correlationId, "7");
  assert.equal(answer!.fields.exchange, "");
  assert.match(answer!.fields.routingKey, /^amq\.rabbitmq\.reply-to\../);
});

Deno.test("the pseudo-queue of direct reply-to can be declared, an address while its requester is there", async () => {
  await using s = await setup();
  const pseudo = "amq.rabbitmq.reply-to";
  const server = await s.channel();
  assert.deepEqual(await server.assertQueue(pseudo), {
    queue: pseudo,
    messageCount: 0,
    consumerCount: 1,
  });
  const client = await s.channel();
  await collect(client, pseudo, { noAck: true });
  const queue = s.name();
  await server.assertQueue(queue);
  client.sendToQueue(queue, bytes("ping"), { replyTo: pseudo });
  await until(async () => await s.count(queue) === 1);
  const request = await server.get(queue, { noAck: true });
  assert.ok(request);
  const address = request.properties.replyTo;
  assert.equal((await server.checkQueue(address)).consumerCount, 1);
  await client.close();
  const gone = await s.closeOfChannel((channel) => channel.checkQueue(address));
  assert.deepEqual(gone, {
    code: 404,
    text: `NOT_FOUND - no queue '${address}' in vhost '/'`,
  });
});

Deno.test("an answer to nobody is returned when it is mandatory", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const returned: string[] = [];
  channel.on("return", (message) => returned.push(message.fields.routingKey));
  for (const key of ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.bogus"]) {
    await publishAll(channel, "", key, ["x"], { mandatory: true });
  }
  assert.deepEqual(returned, ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.bogus"]);
});

Deno.test("direct replies wait for a requester that is slow to read", async () => {
  await using s = await setup();
  const connection = await s.connect();
  const client = await connection.createChannel();
  const server = await s.confirmChannel();
  const queue = s.name();
  await server.assertQueue(queue);
  const answers = await collect(client, "amq.rabbitmq.reply-to", { noAck: true });
  client.sendToQueue(queue, bytes("ping"), { replyTo: "amq.rabbitmq.reply-to" });
  let request: Awaited<ReturnType<typeof server.get>> = false;
  await until(async () => (request = await server.get(queue, { noAck: true })) !== false);
  const { replyTo } = (request as unknown as Message).properties;
  const { stream } = (connection as unknown as { connection: { stream: Socket } }).connection;
  stream.pause();
  const body = bytes("x".repeat(100_000));
  for (let i = 0; i < 200; i++) server.sendToQueue(replyTo, body);
  await server.waitForConfirms();
  stream.resume();
  await until(() => answers.messages.length === 200, "20 MB of replies");
});

Deno.test("a client that does not take its deliveries is read from all the same", async () => {
  await using s = await setup();
  const queue = s.name();
  const channel = await s.confirmChannel();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, Array(300).fill("x".repeat(100_000)));
  await using wire = await Wire.open(s.url);
  await wire.consume(queue, { nowait: true });
  await until(async () => await s.count(queue) < 300); // 30 MB come its way
  // As those do whose consumers acknowledge before they go on to read.
  const heartbeats = Buffer.concat(Array(8192).fill(Buffer.of(8, 0, 0, 0, 0, 0, 0, 0xce)));
  for (let i = 0; i < 200; i++) await within(wire.bytes(heartbeats), "13 MB written");
});
