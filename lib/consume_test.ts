import assert from "node:assert/strict";
import type { ConsumeMessage } from "amqplib";
import { historyOf } from "./retry.ts";
import { Buffer } from "node:buffer";
import { connectBroker } from "./broker.ts";
import { consume, type ConsumeOptions, type Message } from "./consume.ts";
import { createLog } from "./log.ts";
import { BadMessage } from "./retry.ts";
import { connectProbe, eventually, layCable, startServers, unique } from "./testing.ts";
import { pause } from "./wait.ts";

const log = createLog({ name: "test", level: "error" });

async function setup(name: string) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique(name);
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true });
  const stop = new AbortController();
  const broker = stack.use(await connectBroker({ amqpUrl: cable.url, signal: stop.signal, log }));
  const owned = stack.move();

  /** Starts consuming; `stopped()` stops it and waits for its end. */
  function start(
    handler: (message: Message) => Promise<void> | void,
    more: Partial<ConsumeOptions> = {},
  ) {
    const running = consume(broker, {
      queue,
      declare: (channel) => channel.assertQueue(queue, { durable: true }),
      signal: stop.signal,
      retryDelay: 20,
      ...more,
    }, handler);
    running.catch(() => {}); // read by stopped() or rejects()
    return {
      running,
      stopped() {
        stop.abort();
        return running;
      },
    };
  }
  return {
    cable,
    queue,
    probe,
    start,
    send: (text: string, options = {}) =>
      probe.channel.sendToQueue(queue, Buffer.from(text), options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const text = ({ body }: Message) => new TextDecoder().decode(body);

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

Deno.test("consume() runs on when stopped before there is a connection", async () => {
  await using test = await setup("never");
  test.cable.cut("down");
  const consumer = test.start(() => {});
  await consumer.stopped();
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
