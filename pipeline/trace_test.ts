import assert from "node:assert/strict";
import { eventually } from "../lib/testing.ts";
import { receiveSpans } from "../lib/trace_testing.ts";
import { setup } from "./testing/services.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${trace}-b7ad6b7169203331-01`;

/** Work that fails at the first attempt. */
const handler = `export function process(_object, { attempt }) {
  if (attempt === 1) throw new Error("not now");
}`;

Deno.test("with OTEL_DENO=true an object's way through all four services, a retry included, is one trace", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const file = `${test.directory}/handler.ts`;
  await Deno.writeTextFile(file, handler);
  await test.start("datagen", [], receiver.env("datagen"));
  await test.start("distributor", ["--tasks", "1"], receiver.env("distributor"));
  await test.start("processor", ["--handler", file], receiver.env("processor"));
  await test.start("statistics", [], receiver.env("statistics"));
  await test.post(undefined, undefined, { traceparent });
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 1));

  await eventually(() => {
    const lines = receiver.outline(trace);
    assert.deepEqual(lines.filter((line) => !/ statistics: /.test(line)), [
      "datagen: POST /api/objects",
      "  datagen: publish ebs",
      "    distributor: process distributor_consume",
      "      distributor: publish ebs",
      "        processor: process process_consume",
      "          processor: publish ebs",
      "          processor: publish process_consume.retry.1",
      "            processor: process process_consume",
      "              processor: publish ebs",
      "              processor: publish ebs",
    ]);
    // Each event is counted below the span that has published it.
    const counted = receiver.spans.filter(({ name }) => name === "process statistics");
    const published = receiver.spans.filter(({ name }) => name === "publish ebs");
    assert.deepEqual(
      counted.map(({ parentSpanId }) => parentSpanId).sort(),
      published.map(({ spanId }) => spanId).sort(),
    );
    const stored = receiver.spans.filter(({ name }) => name === "store events");
    const causes = stored.flatMap(({ links, parentSpanId }) => parentSpanId || links);
    assert.deepEqual(causes.sort(), counted.map(({ spanId }) => spanId).sort());
    // A routing key may be anything: the span is named by the exchange alone.
    const destinations = published.map(({ attributes }) =>
      attributes["messaging.destination.name"]
    );
    const expected = ["ebs:objects", "ebs:processing", "ebs:task-requests"];
    assert.deepEqual([...new Set(destinations)].sort(), expected);
    const { attributes } = receiver.named("POST /api/objects");
    assert.equal(attributes["http.response.status_code"], 201);
  });
});

Deno.test("without tracing the caller's trace context is handed on, in the event and in the header", async () => {
  await using test = await setup();
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  const tracestate = "vendor=1";
  await test.post(undefined, undefined, { traceparent, tracestate });
  const { content, properties } = await test.probe.take("process_consume");
  for (const carrier of [JSON.parse(content.toString()), properties.headers]) {
    assert.equal(carrier.traceparent, traceparent);
    assert.equal(carrier.tracestate, tracestate);
  }
});

Deno.test("an event that has its trace in itself alone, as other programs publish it, stays in it", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const args = ["--tasks", "1"];
  const distributor = await test.start("distributor", args, receiver.env("distributor"));
  await distributor.seen(/Waiting for objects/);
  const event = {
    ...{ specversion: "1.0", type: "OBJECT_CREATED", id: "o1", source: "/other", traceparent },
    time: new Date().toISOString(),
    data: { id: "o1", name: "object", content: {} },
  };
  test.publish("objects", JSON.stringify(event));
  const { content, properties } = await test.probe.take("process_consume");
  await eventually(() =>
    assert.deepEqual(receiver.outline(trace), [
      "distributor: process OBJECT_CREATED",
      "  distributor: publish ebs",
    ])
  );
  assert.equal(properties.headers!.traceparent.split("-")[1], trace);
  assert.equal(JSON.parse(content.toString()).traceparent.split("-")[1], trace);
});
