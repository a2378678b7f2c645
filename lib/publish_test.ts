import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectBroker } from "./broker.ts";
import { consume } from "./consume.ts";
import { createPublisher } from "./publish.ts";
import { createLog } from "./log.ts";
import { connectProbe, eventually, layCable, startServers, unique } from "./testing.ts";

const log = createLog({ name: "test", level: "error", format: "text" });

async function setup(name: string) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique(name);
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true });
  const signal = new AbortController().signal;
  const broker = stack.use(await connectBroker({ amqpUrl: cable.url, signal, log }));
  const owned = stack.move();
  return { cable, queue, probe, broker, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

Deno.test("publish() resolves when the broker has a persistent message with id, time and type", async () => {
  await using test = await setup("publish");
  await using publisher = await createPublisher(test.broker);
  const before = Math.floor(Date.now() / 1000);
  await publisher.publish({
    routingKey: test.queue,
    body: "hello",
    properties: { contentType: "text/plain" },
  });
  const { content, properties } = await test.probe.take(test.queue);
  assert.equal(content.toString(), "hello");
  assert.equal(properties.deliveryMode, 2);
  assert.match(properties.messageId, /^[0-9a-f-]{36}$/);
  assert.equal(properties.contentType, "text/plain");
  assert(properties.timestamp >= before && properties.timestamp <= Date.now() / 1000);
});

Deno.test("publish() rejects a message that no queue takes, and goes on", async () => {
  await using test = await setup("unroutable");
  await using publisher = await createPublisher(test.broker);
  const nowhere = unique("nowhere");
  await assert.rejects(
    publisher.publish({ routingKey: nowhere, body: "x" }),
    { message: `Cannot publish: there is no queue '${nowhere}'` },
  );
  await assert.rejects(
    publisher.publish({ exchange: "amq.fanout", routingKey: nowhere, body: "x" }),
    /no queue is bound to exchange 'amq.fanout'/,
  );
  await publisher.publish({ routingKey: test.queue, body: "y" });
  assert.equal((await test.probe.take(test.queue)).content.toString(), "y");
});

Deno.test("publish() rejects each of several messages with one id that no queue takes, and no other", async () => {
  await using test = await setup("sameid");
  await using publisher = await createPublisher(test.broker);
  const nowhere = unique("nowhere");
  const properties = { messageId: "same" };
  const outcomes = await Promise.allSettled(
    [nowhere, test.queue, nowhere].map((routingKey) =>
      publisher.publish({ routingKey, body: "x", properties })
    ),
  );
  assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "fulfilled", "rejected"]);
});

Deno.test("publish() rejects what the broker closes the channel for, in its words, and goes on", async () => {
  await using test = await setup("noexchange");
  await using publisher = await createPublisher(test.broker);
  const exchange = unique("missing");
  await assert.rejects(
    publisher.publish({ exchange, routingKey: "", body: "x" }),
    new RegExp(`^Error: Cannot publish: NOT_FOUND - no exchange '${exchange}' in vhost '.*'$`),
  );
  await publisher.publish({ routingKey: test.queue, body: "y" });
});

/** A queue that takes one message and refuses others. */
async function fullQueue({ probe }: Awaited<ReturnType<typeof setup>>) {
  const name = unique("full");
  await probe.channel.assertQueue(name, {
    durable: true,
    arguments: { "x-max-length": 1, "x-overflow": "reject-publish" },
  });
  return {
    name,
    async [Symbol.asyncDispose]() {
      await probe.channel.deleteQueue(name);
    },
  };
}

Deno.test("publish() with a timeout rejects what the queue refuses (nack)", async () => {
  await using test = await setup("nack");
  await using full = await fullQueue(test);
  await using publisher = await createPublisher(test.broker, { timeout: 10_000 });
  // RabbitMQ counts a message once it is in the queue's own process: the limit may take hold one later.
  await assert.rejects(async () => {
    for (let n = 0; n < 10; n++) await publisher.publish({ routingKey: full.name, body: "x" });
  }, /refused the message \(nack\)/);
});

Deno.test("publish() without a timeout publishes again what the queue refuses (nack), until it is taken", async () => {
  await using test = await setup("nackagain");
  await using full = await fullQueue(test);
  await using publisher = await createPublisher(test.broker);
  let confirmed = 0;
  const publishing = Promise.all(["1", "2", "3", "4"].map(async (body) => {
    await publisher.publish({ routingKey: full.name, body });
    confirmed++;
  }));
  const bodies = new Set<string>();
  await eventually(async () => {
    const message = await test.probe.channel.get(full.name, { noAck: true });
    if (message) bodies.add(message.content.toString());
    assert.equal(bodies.size, 4, `${confirmed} confirmed`);
  });
  await publishing;
});

Deno.test("publish() survives a channel error that is not a message's fault: its exchange is declared again", async () => {
  await using test = await setup("exchange");
  const exchange = unique("exchange");
  let declared = 0;
  await using publisher = await createPublisher(test.broker, {
    async declare(channel) {
      declared++;
      await channel.assertExchange(exchange, "fanout", { autoDelete: true });
      await channel.bindQueue(test.queue, exchange, "");
    },
  });
  await test.probe.channel.deleteExchange(exchange);
  await Promise.all(
    ["1", "2"].map((body) => publisher.publish({ exchange, routingKey: "", body })),
  );
  assert.equal(declared, 2);
  const bodies = [await test.probe.take(test.queue), await test.probe.take(test.queue)];
  assert.deepEqual(bodies.map(({ content }) => content.toString()), ["1", "2"]);
});

Deno.test("publish() survives a broken connection: every message arrives, those in flight at least once", async () => {
  await using test = await setup("cut");
  await using publisher = await createPublisher(test.broker);
  const sent: Promise<void>[] = [];
  for (let number = 0; number < 5000; number++) {
    await publisher.ready();
    sent.push(publisher.publish({ routingKey: test.queue, body: String(number) }));
    if (number === 2000) test.cable.cut();
  }
  await Promise.all(sent);
  const arrived = new Map<string, string>();
  for (let message; (message = await test.probe.channel.get(test.queue, { noAck: true }));) {
    arrived.set(message.properties.messageId, message.content.toString());
  }
  assert.equal(arrived.size, 5000, "a message that was published again kept its id");
  assert.equal(new Set(arrived.values()).size, 5000);
});

Deno.test("publish() rejects what is not confirmed within the timeout", async () => {
  await using test = await setup("timeout");
  await using publisher = await createPublisher(test.broker, { timeout: 500 });
  test.cable.cut("down");
  await assert.rejects(
    publisher.publish({ routingKey: test.queue, body: "x" }),
    { message: "Cannot publish: no confirm within 0.5 s (there is no connection)" },
  );
  test.cable.plug();
  await eventually(() => publisher.publish({ routingKey: test.queue, body: "y" }));
});

Deno.test("ready() holds the caller back at the window, so that memory stays flat", async () => {
  await using test = await setup("window");
  await using publisher = await createPublisher(test.broker);
  test.cable.cut("down");
  const big = new Uint8Array(3 * 2 ** 20);
  const sent = [];
  while (!publisher.ready()) sent.push(publisher.publish({ routingKey: test.queue, body: big }));
  assert.equal(sent.length, 6, "16 MB of unconfirmed bodies");
  test.cable.plug();
  await Promise.all(sent);
  await publisher.ready();
});

Deno.test("disposing a publisher waits for what is unconfirmed", async () => {
  await using test = await setup("dispose");
  const sent = [];
  {
    await using publisher = await createPublisher(test.broker);
    for (let number = 0; number < 500; number++) {
      sent.push(publisher.publish({ routingKey: test.queue, body: "x" }));
    }
  }
  await Promise.all(sent);
  assert.equal(await test.probe.count(test.queue), 500);
});

Deno.test("createPublisher() rejects with the broker's words when the declaration is refused", async () => {
  await using test = await setup("refused");
  await assert.rejects(
    createPublisher(test.broker, {
      declare: (channel) => channel.assertQueue(test.queue, { durable: true, messageTtl: 1000 }),
    }),
    /^Error: Cannot publish: PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '.*' in vhost '.*'/,
  );
});

Deno.test("createPublisher() rejects when its signal has aborted, and publish() once it is closed", async () => {
  await using test = await setup("closed");
  const signal = AbortSignal.abort(new Error("stopped"));
  await assert.rejects(createPublisher(test.broker, { signal }), { message: "stopped" });
  const publisher = await createPublisher(test.broker);
  await publisher[Symbol.asyncDispose]();
  await assert.rejects(
    publisher.publish({ routingKey: test.queue, body: "x" }),
    { message: "Cannot publish: the publisher is closed" },
  );
});

Deno.test("publish() gives each outage its own time, however many there are", async () => {
  await using test = await setup("outages");
  await using publisher = await createPublisher(test.broker, { timeout: 2500 });
  // Three outages of a second each: longer together than the time for one.
  for (let outage = 0; outage < 3; outage++) {
    test.cable.cut("down");
    const sent = publisher.publish({ routingKey: test.queue, body: "x" });
    await new Promise((resolve) => setTimeout(resolve, 1000)); // the outage
    test.cable.plug();
    await sent;
  }
});

Deno.test("consuming goes on while the broker does not read from the publishing connection", async () => {
  await using test = await setup("blocked");
  const done: string[] = [];
  const stop = new AbortController();
  const { queue } = test;
  const consuming = consume(test.broker, {
    queue,
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    signal: stop.signal,
    prefetch: 2,
    retryDelay: 10,
  }, ({ body, attempt }) => {
    const text = new TextDecoder().decode(body);
    if (text === "failing" && attempt < 3) throw new Error("not yet");
    done.push(text);
  });
  await using publisher = await createPublisher(test.broker);
  test.cable.freeze("last"); // as RabbitMQ does to a connection that publishes while an alarm is on
  const blocked = publisher.publish({ routingKey: queue, body: "late" });
  test.probe.channel.sendToQueue(queue, Buffer.from("failing"));
  for (let number = 0; number < 100; number++) {
    test.probe.channel.sendToQueue(queue, Buffer.from(`${number}`));
  }
  await eventually(() => assert.equal(done.length, 100));
  await eventually(async () => assert.equal(await test.probe.count(queue), 0));
  test.cable.thaw();
  await blocked;
  await eventually(() => assert.deepEqual(done.slice(100).sort(), ["failing", "late"]));
  stop.abort();
  await consuming;
});
