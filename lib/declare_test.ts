import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectBroker } from "./broker.ts";
import { consume } from "./consume.ts";
import type { Log } from "./log.ts";
import { createPublisher } from "./publish.ts";
import { connectProbe, eventually, startServers, startTool, unique } from "./testing.ts";

/** A broker with names of its own, and what the code under test has told. */
async function setup(queueType?: "classic" | "quorum") {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const name = unique("declare");
  const probe = stack.use(
    await connectProbe(amqpUrl, { queues: [name, `${name}.retry.1`], exchanges: [name] }),
  );
  const told: string[] = [];
  const tell = (text: string) => void told.push(text);
  const log = { debug() {}, info: tell, warn: tell, setLevel() {}, written: async () => {} } as Log;
  const broker = stack.use(await connectBroker({ amqpUrl, queueType, log }));
  /** Handles one message of the queue, `attempts` times. */
  async function handle(handler: (attempt: number) => void, attempts = 1) {
    const stop = new AbortController();
    await consume(broker, {
      queue: name,
      declare: (channel) => channel.assertQueue(name, { durable: true }),
      retryDelay: 20,
      signal: stop.signal,
      ready: () => probe.channel.sendToQueue(name, Buffer.from("text")),
    }, ({ attempt }) => {
      if (attempt === attempts) stop.abort();
      handler(attempt);
    });
  }
  /** What the broker says of another declaration of a queue: undefined when it is equal. */
  async function difference(queue: string, declaration: Record<string, unknown>) {
    const channel = await probe.model.createChannel();
    channel.on("error", () => {});
    try {
      await channel.assertQueue(queue, { durable: true, arguments: declaration });
      await channel.close();
    } catch (error) {
      return (error as Error).message;
    }
  }
  const owned = stack.move();
  return {
    ...{ name, amqpUrl, probe, broker, told, handle, difference },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("a queue that exists as a quorum queue is consumed and published to as it is, with one line that says what differs", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.name, {
    durable: true,
    arguments: { "x-queue-type": "quorum", "x-max-length": 1000 },
  });
  const attempts: number[] = [];
  await test.handle((attempt) => void attempts.push(attempt));
  assert.deepEqual(attempts, [1]);
  const lines = test.told.filter((line) => line.includes("as it is"));
  assert.equal(lines.length, 1, test.told.join("\n"));
  assert.match(lines[0]!, new RegExp(`^Queue '${test.name}' is used as it is: with another x-`));
  await using publisher = await createPublisher(test.broker, {
    declare: (channel) => channel.assertQueue(test.name, { durable: true }),
  });
  await publisher.publish({ routingKey: test.name, body: "more" });
  await eventually(async () => assert.equal(await test.probe.waiting(test.name), 1));
});

Deno.test("a queue and an exchange that are not durable are used as they are", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.name, { durable: false });
  await test.probe.channel.assertExchange(test.name, "fanout", { durable: false });
  await using publisher = await createPublisher(test.broker, {
    async declare(channel) {
      await channel.assertExchange(test.name, "fanout", { durable: true });
      await channel.assertQueue(test.name, { durable: true });
      await channel.bindQueue(test.name, test.name, "");
    },
  });
  await publisher.publish({ exchange: test.name, routingKey: "", body: "text" });
  await eventually(async () => assert.equal(await test.probe.waiting(test.name), 1));
  assert.equal(test.told.length, 2, test.told.join("\n"));
});

Deno.test("what cannot serve is an error: an exchange of another type, a queue that would not do what is asked of it", async () => {
  await using test = await setup();
  await test.probe.channel.assertExchange(test.name, "direct", { durable: true });
  await assert.rejects(
    createPublisher(test.broker, {
      declare: (channel) => channel.assertExchange(test.name, "fanout", { durable: true }),
    }),
    /inequivalent arg 'type' for exchange/,
  );
  await test.probe.channel.assertQueue(test.name, { durable: true });
  await assert.rejects(
    createPublisher(test.broker, {
      declare: (channel) => channel.assertQueue(test.name, { durable: true, messageTtl: 5 }),
    }),
    /inequivalent arg 'x-message-ttl' for queue/,
  );
});

Deno.test("a queue that is used as it is, and deleted, is declared anew", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.name, { durable: false });
  const declare = (channel: { assertQueue: typeof test.probe.channel.assertQueue }) =>
    channel.assertQueue(test.name, { durable: true });
  await (await createPublisher(test.broker, { declare }))[Symbol.asyncDispose]();
  await test.probe.channel.deleteQueue(test.name);
  await (await createPublisher(test.broker, { declare }))[Symbol.asyncDispose]();
  assert.equal(await test.difference(test.name, {}), undefined);
});

Deno.test("a retry queue that is used as it is, and deleted, is declared anew", async () => {
  await using test = await setup("quorum");
  await test.probe.channel.assertQueue(`${test.name}.retry.1`, {
    durable: true,
    deadLetterExchange: "event-sink.retry",
    deadLetterRoutingKey: test.name,
    arguments: { "x-queue-type": "classic" },
  });
  const stop = new AbortController();
  let handled = 0;
  await consume(test.broker, {
    queue: test.name,
    declare: (channel) => channel.assertQueue(test.name, { durable: true }),
    retryDelay: 20,
    signal: stop.signal,
    ready: () => test.probe.channel.sendToQueue(test.name, Buffer.from("text")),
  }, async ({ attempt }) => {
    if (++handled === 4) return stop.abort();
    if (attempt === 1) throw new Error("again");
    await test.probe.channel.deleteQueue(`${test.name}.retry.1`);
    test.probe.channel.sendToQueue(test.name, Buffer.from("text"));
  });
  assert.equal(handled, 4);
});

Deno.test("a stream under the queue's name is not consumed: it begins at its end, and gives nothing back", async () => {
  await using test = await setup();
  const stream = { durable: true, arguments: { "x-queue-type": "stream" } };
  const other = await connectProbe(test.amqpUrl);
  try {
    await other.channel.assertQueue(test.name, stream);
  } catch {
    return; // the embedded broker has none, and has closed the connection (540)
  }
  await other.model.close();
  await assert.rejects(test.handle(() => {}), /exists as a stream/);
  await using publisher = await createPublisher(test.broker, {
    declare: (channel) => channel.assertQueue(test.name, { durable: true }),
  });
  await publisher.publish({ routingKey: test.name, body: "text" });
});

Deno.test("with queueType the queue, its retries and its dead letters are of this type", async () => {
  await using test = await setup("quorum");
  const attempts: number[] = [];
  await test.handle((attempt) => {
    attempts.push(attempt);
    if (attempt === 1) throw new Error("not now");
  }, 2);
  assert.deepEqual(attempts, [1, 2]);
  const quorum = { "x-queue-type": "quorum" };
  assert.equal(await test.difference(test.name, quorum), undefined);
  assert.equal(await test.difference(`${test.name}.dlq`, quorum), undefined);
  assert.equal(
    await test.difference(`${test.name}.retry.1`, {
      ...quorum,
      "x-dead-letter-exchange": "event-sink.retry",
      "x-dead-letter-routing-key": test.name,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    }),
    undefined,
  );
});

Deno.test("--queue-type and QUEUE_TYPE are flags of every tool; an unknown type ends it with 2", async () => {
  await using servers = await startServers();
  const environment = { AMQP_URL: servers.amqpUrl };
  const wrong = await startTool(
    "prototypes/send-recv",
    "recv",
    ["--queue-type", "stream"],
    environment,
  )
    .ended();
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--queue-type: expected classic or quorum, not 'stream'/);
  const variable = await startTool("prototypes/send-recv", "send", ["x"], {
    ...environment,
    QUEUE_TYPE: "mirrored",
  }).ended();
  assert.equal(variable.code, 2);
  assert.match(variable.stderr, /QUEUE_TYPE.*not 'mirrored'/);
});
