import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  connectProbe,
  eventually,
  layCable,
  root,
  start,
  startServers,
  unique,
} from "./testing.ts";
import { currentTrace, inSpan, traceOf } from "./trace.ts";
import { exportTo, receiveSpans } from "./trace_testing.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${trace}-b7ad6b7169203331-01`;

/** A tool that handles messages of a queue: the first attempt fails, the second one publishes, and dead-letters. */
const consumer = `
  import { BadMessage, connectBroker, consume, createLog, createPublisher } from "@event-sink/lib";
  const [amqpUrl, queue] = Deno.args;
  const { signal } = new AbortController();
  const log = createLog({ name: "consumer", format: "json" });
  const broker = await connectBroker({ amqpUrl, signal, log });
  const publisher = await createPublisher(broker, {
    declare: (channel) => channel.assertQueue(queue + ".out", { durable: true }),
  });
  await consume(broker, {
    queue,
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    retryDelay: 10,
    signal,
    ready: () => console.log("ready"),
  }, async ({ attempt }) => {
    if (attempt === 1) throw new RangeError("not now");
    await publisher.publish({ routingKey: queue + ".out", body: "effect" });
    throw new BadMessage("never");
  });`;

async function setup() {
  const stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const queue = unique("trace");
  const queues = [queue, `${queue}.out`];
  const probe = stack.use(await connectProbe(amqpUrl, { queues }));
  const cable = stack.use(layCable(amqpUrl));
  return {
    ...probe,
    cable,
    queue,
    /** Starts the consumer, and publishes a message to it. */
    async consume(env: Record<string, string>, headers: Record<string, unknown>) {
      const tool = stack.use(
        start(["eval", "--quiet", consumer, cable.url, queue], { cwd: root, env }),
      );
      await tool.seen(/ready/);
      const properties = { messageId: "id-1", persistent: true, headers };
      probe.channel.sendToQueue(queue, Buffer.from("hello"), properties);
      return tool;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("traceOf() takes what W3C allows, and nothing else, from whoever wrote it", () => {
  assert.deepEqual(traceOf({ traceparent, more: 1 }), { traceparent });
  const tracestate = "vendor=opaque,other=1";
  assert.deepEqual(traceOf({ traceparent, tracestate }), { traceparent, tracestate });
  assert.deepEqual(traceOf({ traceparent, tracestate: "a=\n" }), { traceparent });
  const later = `cc-${trace}-b7ad6b7169203331-01-more`;
  assert.deepEqual(traceOf({ traceparent: later }), { traceparent: later });
  for (
    const traceparent of [
      `ff-${trace}-b7ad6b7169203331-01`,
      `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
      `00-${trace}-${"0".repeat(16)}-01`,
      `00-${trace.toUpperCase()}-b7ad6b7169203331-01`,
      `cc-${trace}-b7ad6b7169203331-01-${"x".repeat(1000)}`,
    ]
  ) assert.deepEqual(traceOf({ traceparent }), {}, traceparent);
  assert.deepEqual(traceOf(undefined), {});
  fc.assert(fc.property(fc.anything(), (traceparent) => {
    assert.deepEqual(traceOf({ traceparent }), {});
  }));
});

Deno.test("without tracing work just runs, and a trace is handed on", async () => {
  assert.equal(inSpan("name", {}, () => 1), 1);
  await assert.rejects(inSpan("name", {}, () => Promise.reject(new Error("no"))), /no/);
  assert.deepEqual(currentTrace({ traceparent }), { traceparent });
});

Deno.test("attempts, effects and the dead letter of a message are one trace, with what OpenTelemetry wants of it", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const { queue } = test;
  const headers = { traceparent, tracestate: "vendor=1", other: "stays" };
  const tool = await test.consume(receiver.env("tool"), headers);

  const letter = await test.take(`${queue}.dlq`);
  const effect = await test.take(`${queue}.out`);
  await eventually(() =>
    assert.deepEqual(receiver.outline(trace), [
      `tool: process ${queue}`,
      `  tool: publish ${queue}.retry.1`,
      `    tool: process ${queue}`,
      `      tool: publish ${queue}.out`,
      `      tool: publish ${queue}.dlq`,
    ])
  );
  const spanOf = (name: string) => receiver.named(`publish ${queue}.${name}`);
  const parentOf = (value: unknown) => /^00-.{32}-(.{16})-01$/.exec(String(value))![1];
  const letterHeaders = letter.properties.headers!;
  assert.equal(parentOf(letterHeaders.traceparent), spanOf("dlq").spanId);
  assert.equal(letterHeaders.tracestate, "vendor=1");
  assert.equal(letterHeaders.other, "stays");
  assert.equal(parentOf(effect.properties.headers!.traceparent), spanOf("out").spanId);
  assert.equal(effect.properties.headers!.tracestate, "vendor=1");

  const { hostname, port } = new URL(test.cable.url);
  const server = { "server.address": hostname, "server.port": Number(port) };
  assert.deepEqual(spanOf("dlq").attributes, {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "publish",
    "messaging.operation.type": "send",
    "messaging.destination.name": `${queue}.dlq`,
    "messaging.destination.template": `${queue}.dlq`,
    "messaging.rabbitmq.destination.routing_key": `${queue}.dlq`,
    "messaging.message.id": "id-1",
    "messaging.message.body.size": 5,
    "event_sink.reason": "never",
    ...server,
  });
  const [first, second] = receiver.spans.filter(({ name }) => name === `process ${queue}`)
    .sort((one, other) => Number(one.begin - other.begin));
  assert.deepEqual(first!.attributes, {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": queue,
    "messaging.destination.template": queue,
    "messaging.rabbitmq.destination.routing_key": queue,
    "messaging.rabbitmq.message.delivery_tag": 1,
    "messaging.message.id": "id-1",
    "messaging.message.body.size": 5,
    "event_sink.attempt": 1,
    ...server,
    "error.type": "RangeError",
  });
  assert.equal(first!.failure, "not now");
  assert.equal(second!.attributes["event_sink.attempt"], 2);
  assert.equal(second!.attributes["error.type"], "BadMessage");

  const lines = tool.output.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ properties }) => properties),
    [first, second].map((span) => ({ messageId: "id-1", traceId: trace, spanId: span!.spanId })),
  );
});

Deno.test("without tracing the headers stay as they are, and log lines name the message and its trace", async () => {
  await using test = await setup();
  const headers = { traceparent, tracestate: "vendor=1" };
  const tool = await test.consume({}, headers);
  const letter = await test.take(`${test.queue}.dlq`);
  assert.equal(letter.properties.headers!.traceparent, traceparent);
  assert.equal(letter.properties.headers!.tracestate, "vendor=1");
  assert.equal((await test.take(`${test.queue}.out`)).properties.headers!.traceparent, undefined);
  const [line] = tool.output.stderr.split("\n");
  assert.deepEqual(JSON.parse(line!).properties, { messageId: "id-1", traceId: trace });
});

Deno.test("a trace that is not sampled has no spans, and stays so", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const unsampled = traceparent.replace(/01$/, "00");
  await test.consume(receiver.env("tool"), { traceparent: unsampled });
  const letter = await test.take(`${test.queue}.dlq`);
  assert.equal(letter.properties.headers!.traceparent, unsampled);
  const effect = await test.take(`${test.queue}.out`);
  assert.equal(effect.properties.headers!.traceparent, unsampled);
  assert.deepEqual(receiver.outline(trace), []);
});

Deno.test("tools go on working while nobody takes their spans, or who takes them hangs", async () => {
  using hung = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const port of [1, hung.addr.port]) {
    await using test = await setup();
    await test.consume(exportTo(`http://127.0.0.1:${port}`), { traceparent });
    await test.take(`${test.queue}.dlq`);
  }
});

Deno.test("the collector goes away in between: tools go on, and export again when it is back", async () => {
  await using test = await setup();
  const receiver = receiveSpans();
  await test.consume(receiver.env("tool"), { traceparent });
  await test.take(`${test.queue}.dlq`);
  await eventually(() => assert.equal(receiver.outline(trace).length, 5));
  await receiver[Symbol.asyncDispose]();
  test.channel.sendToQueue(test.queue, Buffer.from("lost"));
  await test.take(`${test.queue}.dlq`);
  await using again = receiveSpans(Number(new URL(receiver.url).port));
  await eventually(() => {
    test.channel.sendToQueue(test.queue, Buffer.from("again"));
    assert(again.spans.length > 0);
  });
});

Deno.test("what happens after a message is handled does not belong to its trace", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const tool = await test.consume(receiver.env("tool"), { traceparent });
  await test.take(`${test.queue}.dlq`);
  test.cable.cut("down");
  await tool.seen(/Lost/);
  test.cable.plug();
  await tool.seen(/Connected/);
  const lines = tool.output.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  const others = lines.filter(({ message }) => !message.startsWith("Message "));
  assert.equal(others.length, 2, tool.output.stderr);
  for (const { message, properties } of others) assert.deepEqual(properties, {}, message);
});
