/**
 * Quorum queues: what is different in them from classic ones.
 * @module
 */
import assert from "node:assert/strict";
import {
  bytes,
  type Channel,
  collect,
  getAll,
  publishAll,
  type Setup,
  setup,
  texts,
  until,
} from "./harness.ts";

type Arguments = Record<string, string | number | boolean>;

const atLeastOnce = {
  "x-dead-letter-exchange": "",
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** A quorum queue, and a channel that confirms. */
async function declare(s: Setup, args: Arguments = {}) {
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum", ...args } });
  return { channel, queue };
}

/** The message that is ready, or soon will be: what a quorum queue answers may be older than what was done to it. */
async function take(channel: Channel, queue: string) {
  let message = await channel.get(queue);
  await until(async () => (message ||= await channel.get(queue)) !== false, "a message");
  assert.ok(message);
  return message;
}

/** Publish one message. @returns whether it was confirmed, rather than rejected */
function isTaken(
  channel: Awaited<ReturnType<Setup["confirmChannel"]>>,
  queue: string,
): Promise<boolean> {
  return new Promise((resolve) =>
    channel.sendToQueue(queue, bytes("x"), {}, (error) => resolve(!error))
  );
}

const count = (message: { properties: { headers?: Record<string, unknown> } }) =>
  message.properties.headers?.["x-delivery-count"];

Deno.test("a quorum queue counts how often a message came back, and gives up after its limit", async () => {
  await using s = await setup();
  const dead = s.name();
  const { channel, queue } = await declare(s, {
    "x-delivery-limit": 2,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.assertQueue(dead, { durable: true, arguments: { "x-queue-type": "classic" } });
  await publishAll(channel, "", queue, ["poison"]);
  const counts: unknown[] = [];
  await channel.consume(queue, (message) => {
    counts.push(count(message!));
    channel.nack(message!, false, true);
  });
  await until(async () => await s.count(dead) === 1);
  assert.deepEqual(counts, [undefined, 1, 2]);
  const found = await channel.get(dead, { noAck: true });
  assert.ok(found);
  const [death] = found.properties.headers!["x-death"]!;
  assert.equal(death!.reason, "delivery_limit");
});

Deno.test("the delivery limit is 20 unless the queue names another; before RabbitMQ 4 there was none", async () => {
  await using s = await setup();
  const version4 = await s.isVersion4();
  for (const [args, limited] of [[{}, version4], [{ "x-delivery-limit": -1 }, false]] as const) {
    // 3.10 knows no limit below 0: it dead-letters at once.
    if (!version4 && "x-delivery-limit" in args) continue;
    const { channel, queue } = await declare(s, args);
    await publishAll(channel, "", queue, ["x"]);
    let deliveries = 0;
    await channel.consume(queue, (message) => {
      if (++deliveries < 30) channel.nack(message!, false, true);
      else channel.ack(message!);
    });
    await until(() => deliveries === (limited ? 21 : 30));
    await until(async () => await s.count(queue) === 0);
    assert.equal(deliveries, limited ? 21 : 30);
  }
});

Deno.test("a message comes back counted from whoever goes away with it", async () => {
  await using s = await setup();
  const { channel, queue } = await declare(s);
  await publishAll(channel, "", queue, ["x"]);
  const leave: ((channel: Channel) => Promise<unknown>)[] = [
    (c) => c.close(),
    (c) => (c as unknown as { connection: { close(): Promise<void> } }).connection.close(),
    (c) => c.recover(),
  ];
  for (const [counted, action] of leave.entries()) {
    const other = await s.channel();
    const message = await take(other, queue);
    assert.equal(message.fields.redelivered, counted > 0);
    assert.equal(count(message) ?? 0, counted);
    await action(other);
  }
  assert.equal(count(await take(channel, queue)), leave.length);
});

Deno.test("what a client says of the delivery count counts for nothing", async () => {
  await using s = await setup();
  const { channel, queue } = await declare(s, { "x-delivery-limit": 2 });
  await publishAll(channel, "", queue, ["x"], { headers: { "x-delivery-count": 7 } });
  await take(channel, queue);
  await channel.recover();
  assert.equal(count(await take(channel, queue)), 1);
});

Deno.test("a quorum queue delivers what came back first, in the order in which it came back", async () => {
  await using s = await setup();
  const { channel, queue } = await declare(s, { "x-delivery-limit": 5 });
  await publishAll(channel, "", queue, ["1", "2", "3", "4"]);
  const held = [];
  for (let i = 0; i < 3; i++) held.push(await take(channel, queue));
  for (const i of [2, 0, 1]) channel.nack(held[i]!, false, true);
  await until(async () => await s.count(queue) === 4);
  assert.deepEqual(texts(await getAll(channel, queue)), ["3", "1", "2", "4"]);
});

Deno.test("a quorum queue without a delivery limit puts at its end what is given back, not what is left behind", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return; // No limit is another thing there, see above.
  const { channel, queue } = await declare(s, { "x-delivery-limit": -1 });
  await publishAll(channel, "", queue, ["1", "2", "3", "4"]);
  channel.nack(await take(channel, queue), false, true);
  await until(async () => await s.count(queue) === 4);
  const other = await s.channel();
  for (let i = 0; i < 2; i++) await take(other, queue);
  await other.close();
  await until(async () => await s.count(queue) === 4);
  assert.deepEqual(texts(await getAll(channel, queue)), ["2", "3", "4", "1"]);
});

Deno.test("a quorum queue has two priorities, and the lower one its turn; before RabbitMQ 4 it had one", async () => {
  await using s = await setup();
  const { channel, queue } = await declare(s);
  for (const priority of [0, 1, 5, 6, 4, 255, 9, undefined, 7]) {
    await publishAll(channel, "", queue, [String(priority)], { priority });
  }
  assert.equal(
    texts(await getAll(channel, queue)).join(" "),
    await s.isVersion4() ? "5 6 0 255 9 1 7 4 undefined" : "0 1 5 6 4 255 9 undefined 7",
  );
});

Deno.test("the turns of the priorities go on with what is delivered at once, and begin again with a purge", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return; // There were no priorities.
  for (const purged of [false, true]) {
    const { channel, queue } = await declare(s);
    const consumer = await collect(channel, queue, { noAck: true });
    await publishAll(channel, "", queue, ["at once"]);
    await until(() => consumer.messages.length === 1);
    await channel.cancel(consumer.tag);
    if (purged) await channel.purgeQueue(queue);
    for (const priority of [0, 5, 6, 7]) {
      await publishAll(channel, "", queue, [String(priority)], { priority });
    }
    assert.equal(texts(await getAll(channel, queue)).join(" "), purged ? "5 6 0 7" : "5 0 6 7");
  }
});

Deno.test("a full quorum queue takes one more, and then none until it is down to 80 %", async () => {
  await using s = await setup();
  for (const limit of ["x-max-length", "x-max-length-bytes"]) {
    const { channel, queue } = await declare(s, { [limit]: 10, "x-overflow": "reject-publish" });
    let taken = 0;
    // Publishers hear late that it is full.
    while (await isTaken(channel, queue)) taken++;
    assert.ok(taken >= 10 && taken <= 11, `${taken}`);
    if (await s.isVersion4()) assert.equal(taken, 11);
    while (await s.count(queue) > 9) await channel.get(queue, { noAck: true });
    assert.equal(await isTaken(channel, queue), false);
    while (await s.count(queue) > 8) await channel.get(queue, { noAck: true });
    await until(() => isTaken(channel, queue));
  }
});

Deno.test("a quorum queue that is full drops its head, dead-lettering it", async () => {
  await using s = await setup();
  const dead = s.name();
  const { channel, queue } = await declare(s, {
    "x-max-length": 2,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.assertQueue(dead);
  await publishAll(channel, "", queue, ["1", "2", "3"]);
  await until(async () => await s.count(dead) === 1);
  assert.deepEqual(texts(await getAll(channel, dead)), ["1"]);
  assert.deepEqual(texts(await getAll(channel, queue)), ["2", "3"]);
});

Deno.test("messages expire in a quorum queue, by their own time and by the queue's", async () => {
  await using s = await setup();
  const dead = s.name();
  const { channel, queue } = await declare(s, {
    "x-message-ttl": 60_000,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.assertQueue(dead);
  await publishAll(channel, "", queue, ["1"], { expiration: "20" });
  await publishAll(channel, "", queue, ["2"]);
  await until(async () => await s.count(dead) === 1);
  assert.deepEqual(texts(await getAll(channel, dead)), ["1"]);
  assert.equal(await s.count(queue), 1);
});

Deno.test("a single active consumer of a quorum queue gives way to one of higher priority, once it has nothing in hand", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return; // Priorities did not matter.
  const { channel, queue } = await declare(s, { "x-single-active-consumer": true });
  const low = await collect(channel, queue);
  await publishAll(channel, "", queue, ["1"]);
  await until(() => low.messages.length === 1);
  const high = await collect(channel, queue, { priority: 5 });
  await publishAll(channel, "", queue, ["2"]);
  await until(async () => await s.count(queue) === 1);
  channel.ack(low.messages[0]!);
  await until(() => high.messages.length === 1);
  assert.deepEqual([texts(low.messages), texts(high.messages)], [["1"], ["2"]]);
});

Deno.test("at-least-once dead-lettering brings what is rejected, expired or delivered too often to its queue", async () => {
  await using s = await setup();
  const dead = s.name();
  const { channel, queue } = await declare(s, {
    ...atLeastOnce,
    "x-dead-letter-routing-key": dead,
    "x-delivery-limit": 1,
  });
  await channel.assertQueue(dead, { arguments: { "x-queue-type": "classic" } });
  await publishAll(channel, "", queue, ["rejected"], { persistent: true });
  channel.reject(await take(channel, queue), false);
  await until(async () => await s.count(dead) === 1);
  await publishAll(channel, "", queue, ["expired"], { expiration: "10" });
  await until(async () => await s.count(dead) === 2);
  await publishAll(channel, "", queue, ["delivery_limit"]);
  for (let i = 0; i < 2; i++) channel.reject(await take(channel, queue), true);
  await until(async () => await s.count(dead) === 3);
  for (const { content, properties } of await getAll(channel, dead)) {
    const [death] = properties.headers!["x-death"]!;
    assert.deepEqual([death!.reason, death!.count, death!.queue], [String(content), 1, queue]);
  }
});

Deno.test("a letter that no queue takes stays, and takes its room in a queue with a limit", async () => {
  await using s = await setup();
  const missing = s.name();
  const { channel, queue } = await declare(s, {
    ...atLeastOnce,
    "x-dead-letter-routing-key": missing,
    "x-max-length": 1,
  });
  for (const body of ["1", "2"]) {
    await publishAll(channel, "", queue, [body]);
    channel.reject(await take(channel, queue), false);
  }
  await until(async () => !await isTaken(channel, queue));
});

Deno.test("a stranger's redeclaration of a quorum queue names both types", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return; // It was named `none` where it was not given.
  const { queue } = await declare(s);
  const close = await s.closeOfChannel((c) =>
    c.assertQueue(queue, { arguments: { "x-queue-type": "classic" } })
  );
  assert.equal(
    close.text,
    `PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '${queue}' in vhost '/': ` +
      "received 'classic' but current is 'quorum'",
  );
});
