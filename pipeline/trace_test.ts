import assert from "node:assert/strict";
import { eventually } from "../lib/testing.ts";
import { instant, setup } from "./testing/services.ts";

interface Span {
  service: string;
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
}

/** Takes OTLP over HTTP in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
function receiveSpans() {
  const spans: Span[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    if (!request.url.endsWith("/v1/traces")) return new Response("{}");
    const { resourceSpans } = await request.json();
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = resource.attributes
        .find(({ key }: { key: string }) => key === "service.name").value.stringValue;
      for (const { spans: received } of scopeSpans) {
        for (const span of received) spans.push({ ...span, service });
      }
    }
    return new Response("{}");
  });
  return {
    spans,
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("with OTEL_DENO=true an object's way through all four services is one trace", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const env = (service: string) => ({
    OTEL_DENO: "true",
    OTEL_SERVICE_NAME: service,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  });
  await test.start("datagen", [], env("datagen"));
  await test.start("distributor", ["--tasks", "2"], env("distributor"));
  await test.start("processor", instant, env("processor"));
  await test.start("statistics", [], env("statistics"));
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 2));

  await eventually(() => {
    const post = receiver.spans.find(({ name }) => name === "create objects");
    assert(post);
    const ours = receiver.spans.filter(({ traceId }) => traceId === post.traceId);
    const named = (service: string) => ours.filter((span) => span.service === service);
    const parentOf = ({ parentSpanId }: Span) => ours.find(({ spanId }) => spanId === parentSpanId);
    const [distribute] = named("distributor");
    assert.equal(distribute?.name, "distribute");
    assert.equal(parentOf(distribute), post);
    const process = named("processor");
    assert.deepEqual(process.map(parentOf), [distribute, distribute]);
    // One object, two tasks created, two started, two finished.
    const counted = named("statistics").map(parentOf);
    assert.equal(counted.length, 7);
    assert.equal(counted.filter((parent) => parent === post).length, 1);
    assert.equal(counted.filter((parent) => parent === distribute).length, 2);
    assert.equal(counted.filter((parent) => process.includes(parent!)).length, 4);
  });
});

Deno.test("without tracing the caller's trace context is handed on", async () => {
  await using test = await setup();
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  await fetch(`${test.url("datagen")}/api/objects`, { method: "POST", headers: { traceparent } })
    .then((answer) => answer.body?.cancel());
  const message = await test.probe.take("process_consume");
  assert.equal(JSON.parse(message.content.toString()).traceparent, traceparent);
});
