import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setup, text } from "./consume_testing.ts";
import { connectProbe, eventually } from "./testing.ts";
import { pause } from "./wait.ts";

Deno.test("consume() acknowledges after the handler has returned, not before", async () => {
  await using test = await setup("ack");
  const first = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const seen: string[] = [];
  const consumer = test.start(async (message) => {
    seen.push(text(message));
    first.resolve();
    await release.promise;
  });
  test.send("one");
  await first.promise;
  test.cable.cut(); // no acknowledgement has gone out: the message comes again
  release.resolve();
  await eventually(() => assert.deepEqual(seen, ["one", "one"]));
  await consumer.stopped();
  test.cable.cut();
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("consume() has no more than `prefetch` messages in hand", async () => {
  await using test = await setup("prefetch");
  let inHand = 0;
  let most = 0;
  let done = 0;
  const consumer = test.start(async () => {
    most = Math.max(most, ++inHand);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inHand--;
    done++;
  }, { prefetch: 3 });
  for (let number = 0; number < 30; number++) test.send("x");
  await eventually(() => assert.equal(done, 30));
  await consumer.stopped();
  assert.equal(most, 3);
});

Deno.test("consume() acknowledges each of many concurrent messages once, in whatever order they end", async () => {
  await using test = await setup("order");
  let done = 0;
  const consumer = test.start(async (message) => {
    const number = Number(text(message));
    // Sevens end last, threes fail, the others at once.
    if (number % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    if (number % 3 === 0 && message.attempt === 1) throw new Error("once more");
    done++;
  }, { prefetch: 50 });
  for (let number = 0; number < 500; number++) test.send(String(number));
  await eventually(() => assert.equal(done, 500));
  await consumer.stopped();
  test.cable.cut(); // what is not acknowledged shows again
  await eventually(async () => {
    const { messageCount, consumerCount } = await test.probe.channel.assertQueue(test.queue, {
      durable: true,
    });
    assert.deepEqual({ messageCount, consumerCount }, { messageCount: 0, consumerCount: 0 });
  });
});

Deno.test("consume() gives back what its handler drops when it is stopped, and finishes the rest", async () => {
  await using test = await setup("stop");
  const started: string[] = [];
  const stop = new AbortController();
  const dropped = Promise.withResolvers<void>();
  const finishing = Promise.withResolvers<void>();
  const consumer = test.start(async (message) => {
    started.push(text(message));
    if (text(message) === "drop") await dropped.promise;
    else await finishing.promise;
  }, { prefetch: 2, signal: stop.signal });
  for (const body of ["drop", "finish", "later"]) test.send(body);
  await eventually(() => assert.deepEqual(started, ["drop", "finish"]));
  stop.abort();
  dropped.reject(stop.signal.reason);
  finishing.resolve();
  await consumer.running;
  const back = [await test.probe.take(test.queue), await test.probe.take(test.queue)];
  assert.deepEqual(back.map(({ content }) => content.toString()), ["drop", "later"]);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("consume() goes on after the queue was deleted underneath", async () => {
  await using test = await setup("deleted");
  const seen: string[] = [];
  const consumer = test.start((message) => void seen.push(text(message)));
  test.send("before");
  await eventually(() => assert.deepEqual(seen, ["before"]));
  await test.probe.channel.deleteQueue(test.queue);
  await using later = await connectProbe(test.cable.url);
  await eventually(async () => {
    const { consumerCount } = await later.channel.assertQueue(test.queue, { durable: true });
    assert.equal(consumerCount, 1);
  });
  later.channel.sendToQueue(test.queue, Buffer.from("after"));
  await eventually(() => assert.deepEqual(seen, ["before", "after"]));
  await consumer.stopped();
});

Deno.test("consume() binds its queue again after the exchange was deleted, and made anew by another one", async () => {
  await using test = await setup("unbound");
  const { channel } = test.probe;
  const seen: string[] = [];
  const ready = Promise.withResolvers<void>();
  const consumer = test.start((message) => void seen.push(text(message)), {
    ready: ready.resolve,
    async declare(channel) {
      await channel.assertExchange(test.queue, "fanout", { durable: true });
      await channel.assertQueue(test.queue, { durable: true });
      await channel.bindQueue(test.queue, test.queue, "");
    },
  });
  async function arrives(what: string) {
    await eventually(() => {
      channel.publish(test.queue, "", Buffer.from(what));
      assert(seen.includes(what));
    });
  }
  await ready.promise;
  await arrives("before");
  await channel.deleteExchange(test.queue);
  await channel.assertExchange(test.queue, "fanout", { durable: true });
  await arrives("made anew");
  await channel.deleteExchange(test.queue);
  await eventually(async () => {
    const asking = await test.probe.model.createChannel();
    asking.on("error", () => {}); // 404 closes it
    await asking.checkExchange(test.queue); // the consumer has declared it
    await asking.close();
  });
  await arrives("declared anew");
  await consumer.stopped();
  await channel.deleteExchange(test.queue);
});

Deno.test("consume() goes on after the broker was away", async () => {
  await using test = await setup("away");
  const seen: string[] = [];
  const consumer = test.start((message) => void seen.push(text(message)));
  test.send("before");
  await eventually(() => assert.deepEqual(seen, ["before"]));
  test.cable.cut("down");
  test.send("meanwhile");
  test.cable.plug();
  await eventually(() => assert.deepEqual(seen, ["before", "meanwhile"]));
  await consumer.stopped();
});

Deno.test("consume() ends loudly when the broker refuses its declaration", async () => {
  await using test = await setup("refused");
  const { running } = test.start(() => {}, {
    declare: (channel) => channel.assertQueue(test.queue, { durable: true, messageTtl: 1000 }),
  });
  await assert.rejects(running, /^Error: PRECONDITION_FAILED - inequivalent arg 'x-message-ttl'/);
});

Deno.test("consume() refuses at once a name that is too long for its retry queues", async () => {
  await using test = await setup("long");
  const queue = test.queue.padEnd(250, "x");
  const consuming = test.start(() => {}, { queue });
  await assert.rejects(consuming.running, /its name has 250 bytes, and 247 are the most/);
});

Deno.test("consume() runs on when stopped before there is a connection", async () => {
  await using test = await setup("never");
  test.cable.cut("down");
  const consumer = test.start(() => {});
  await consumer.stopped();
});

Deno.test("consume() holds no more than so many bytes, whatever the prefetch, and loses none", async () => {
  await using test = await setup("bytes");
  const size = 2 * 2 ** 20;
  for (let number = 0; number < 60; number++) {
    const body = Buffer.alloc(size);
    body.writeUInt32BE(number);
    test.probe.channel.sendToQueue(test.queue, body, { messageId: `${number}` });
  }
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 60));
  const done = new Map<number, number>();
  let inHand = 0;
  let most = 0;
  const consuming = test.start(async ({ body }) => {
    most = Math.max(most, ++inHand);
    await new Promise((resolve) => setTimeout(resolve, 5)); // the work
    inHand--;
    const number = new DataView(body.buffer, body.byteOffset).getUint32(0);
    done.set(number, (done.get(number) ?? 0) + 1);
  }, { prefetch: 1000 });
  await eventually(() => assert.equal(done.size, 60));
  await consuming.stopped();
  assert(most <= 17, `${most} messages of 2 MiB in hand`);
  assert.deepEqual([...done.values()].filter((times) => times > 1), []);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("consume() goes on with full speed after messages that were too large together", async () => {
  await using test = await setup("growth");
  for (let number = 0; number < 20; number++) test.send("x".repeat(3 * 2 ** 20));
  for (let number = 0; number < 500; number++) test.send("small");
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 520));
  let done = 0;
  let inHand = 0;
  let most = 0;
  const consuming = test.start(async ({ body }) => {
    if (body.length < 10) most = Math.max(most, ++inHand);
    await new Promise((resolve) => setTimeout(resolve, 2)); // the work
    if (body.length < 10) inHand--;
    done++;
  }, { prefetch: 100 });
  await eventually(() => assert.equal(done, 520));
  await consuming.stopped();
  assert(most > 11, `the prefetch stayed at ${most}`);
});

Deno.test("consume() acknowledges at ack(), and keeps a failure behind it to the log", async () => {
  await using test = await setup("early");
  const acknowledged = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const consuming = test.start(async (message) => {
    message.ack();
    acknowledged.resolve();
    await release.promise;
    throw new Error("too late to matter");
  });
  test.send("x");
  await acknowledged.promise;
  test.cable.cut("down");
  release.resolve();
  test.cable.plug();
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 0));
  await consuming.stopped();
  assert.equal(await test.probe.count(`${test.queue}.dlq`), 0);
});

Deno.test("consume() loses nothing of a quorum queue, however often a message comes back unacknowledged", async () => {
  await using test = await setup("restarts");
  await test.probe.channel.deleteQueue(test.queue);
  const declaration = { durable: true, arguments: { "x-queue-type": "quorum" } };
  await test.probe.channel.assertQueue(test.queue, declaration);
  test.send("one", { messageId: "m1" });
  const dlq = `${test.queue}.dlq`;
  // RabbitMQ 4 drops a message after 20 deliveries. Here each consumer dies with it in hand, and dead-letters it after three attempts.
  for (let restarts = 0; restarts < 25; restarts++) {
    const got = Promise.withResolvers<void>();
    const consumer = test.start(() => {
      got.resolve();
      return new Promise(() => {});
    }, { attempts: 3, declare: (channel) => channel.checkQueue(test.queue) });
    const over = eventually(async () => assert.equal(await test.probe.count(dlq), 1));
    await Promise.race([got.promise, over]);
    test.cable.cut();
    consumer.running.catch(() => {});
    if (await test.probe.count(dlq) === 1) break;
  }
  const dead = await test.probe.take(dlq);
  assert.equal(dead.content.toString(), "one");
  assert.match(dead.properties.headers?.["x-reason"], /came back unacknowledged/);
});

Deno.test("consume() has the broker know all acknowledgements before it ends, of a quorum queue too", async () => {
  await using test = await setup("acknowledged");
  await test.probe.channel.deleteQueue(test.queue);
  const declaration = { durable: true, arguments: { "x-queue-type": "quorum" } };
  await test.probe.channel.assertQueue(test.queue, declaration);
  const done = Promise.withResolvers<void>();
  let count = 0;
  // One at a time is acknowledged out of order: an acknowledgement for each.
  const consumer = test.start(async () => {
    await pause(Math.random() * 50);
    if (++count === 1000) done.resolve();
  }, { prefetch: 1000, declare: (channel) => channel.checkQueue(test.queue) });
  for (let n = 0; n < 1000; n++) test.send(`${n}`);
  await done.promise;
  await consumer.stopped();
  await pause(300); // what is given back counts again a little later
  assert.equal(await test.probe.waiting(test.queue), 0);
});
