import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { eventually } from "../../lib/testing.ts";
import { receiveSpans } from "../../lib/trace_testing.ts";
import { setup } from "./testing.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${trace}-b7ad6b7169203331-01`;
const product = { title: "x", price: "1.00" };

Deno.test("from a request to admin to service's copy, and from a like back to it, are one trace each", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const { queue } = test;
  await test.start("admin", receiver.env("admin"));
  await test.start("service", receiver.env("service"));
  const { body: { id } } = await test.request("admin", "POST", "/api/products/", product, {
    traceparent,
  });
  await eventually(() =>
    assert.deepEqual(receiver.outline(trace), [
      "admin: POST /api/products",
      `  admin: publish ${queue}`,
      `    service: process ${queue}`,
    ])
  );
  await test.request("service", "POST", `/api/products/${id}/like`, { user_id: 1 });
  await eventually(() => {
    const { traceId } = receiver.named("POST /api/products/:id/like");
    assert.deepEqual(receiver.outline(traceId), [
      "service: POST /api/products/:id/like",
      `  service: publish ${queue}.feedback`,
      `    admin: process ${queue}.feedback`,
      `      admin: publish ${queue}`,
      `        service: process ${queue}`,
    ]);
  });
});

Deno.test("requests at the same time are stored in one commit, and stay in their own traces", async () => {
  await using receiver = receiveSpans();
  await using test = await setup();
  const { queue } = test;
  await test.start("admin", receiver.env("admin"));
  const create = () => test.request("admin", "POST", "/api/products/", product);
  await Promise.all(Array.from({ length: 20 }, create));
  await eventually(() => {
    const requests = receiver.spans.filter(({ name }) => name === "POST /api/products");
    const published = receiver.spans.filter(({ name }) => name === `publish ${queue}`);
    assert.equal(published.length, 20);
    assert.deepEqual(
      published.map(({ parentSpanId }) => parentSpanId).sort(),
      requests.map(({ spanId }) => spanId).sort(),
    );
  });
});

Deno.test("without tracing a request's trace is handed on, by way of the outbox of an earlier version too", async () => {
  await using test = await setup();
  using database = new DatabaseSync(`${test.directory}/admin.db`);
  database.exec(
    "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
  );
  database.exec(
    `INSERT INTO outbox (event) VALUES ('{"type":"product_created","id":"old","body":{}}')`,
  );
  database.close();
  await test.start("admin");
  const old = await test.probe.take(test.queue);
  assert.equal(old.properties.messageId, "old");
  await test.request("admin", "POST", "/api/products/", product, { traceparent });
  const { properties } = await test.probe.take(test.queue);
  assert.equal(properties.headers!.traceparent, traceparent);
});
