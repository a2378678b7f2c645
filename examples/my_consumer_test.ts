import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectProbe, eventually, layCable, start, startServers, unique } from "../lib/testing.ts";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const cable = stack.use(layCable(amqpUrl));
  const queue = unique("orders");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true });
  const requests: string[] = [];
  const statuses: number[] = [];
  const server = stack.use(
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      requests.push(`${request.headers.get("idempotency-key")} ${await request.text()}`);
      return new Response(null, { status: statuses.shift() ?? 201 });
    }),
  );
  const env = { AMQP_URL: cable.url, ORDERS_API: `http://127.0.0.1:${server.addr.port}` };
  const permissions = ["--no-prompt", "--allow-net", "--allow-env=AMQP_URL,ORDERS_API"];
  const owned = stack.move();
  return {
    ...{ queue, probe, cable, requests, statuses },
    start: () =>
      owned.use(start(["run", ...permissions, "examples/my_consumer.ts", queue], { env })),
    send: (messageId: string, body: string) =>
      probe.channel.sendToQueue(queue, Buffer.from(body), { messageId }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("a consumer outside the workspace's members handles, retries and dead-letters", async () => {
  await using test = await setup();
  const consumer = test.start();
  await consumer.seen(/Waiting for orders in the queue/);
  test.statuses.push(503);
  test.send("m1", '{"id":"1","amount":9.5}');
  await consumer.seen(/Message m1 is tried again in \S+ s, after attempt 1: \S+ answers 503/);
  await consumer.seen(/^Order 1 is passed on$/m);
  const order = 'm1 {"id":"1","amount":9.5}';
  assert.deepEqual(test.requests, [order, order]);
  for (const [id, body] of [["m2", "no JSON"], ["m3", '{"id":"3","amount":-1}']] as const) {
    test.send(id, body);
    const { properties } = await test.probe.take(`${test.queue}.dlq`);
    assert.equal(properties.messageId, id);
    assert.match(properties.headers?.["x-reason"], /^This is no order: ./);
  }
  consumer.kill("SIGINT");
  assert.equal((await consumer.ended()).code, 0);
  assert.equal(test.requests.length, 2);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("it outlives the broker, waits for one that is not there yet, and can be stopped meanwhile", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const stopped = test.start();
  await stopped.seen(/Waiting for the broker/);
  stopped.kill("SIGTERM");
  assert.equal((await stopped.ended()).code, 0);
  const consumer = test.start();
  await consumer.seen(/Waiting for the broker/);
  test.cable.plug();
  await consumer.seen(/Waiting for orders/);
  test.cable.cut();
  test.send("m1", '{"id":"1","amount":0}');
  await consumer.seen(/Order 1 is passed on/);
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 0));
});
