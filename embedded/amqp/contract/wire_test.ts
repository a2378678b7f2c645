import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { publishAll, setup, until } from "./harness.ts";
import { closeOf, Wire } from "./wire.ts";

type Case = [act: (wire: Wire) => Promise<void>, code: number, text: string, method: string];
const noBody = { ticket: 0, exchange: "", routingKey: "x", mandatory: false, immediate: false };
const hard: Record<string, Case> = {
  "immediate": [
    async (w) => {
      await w.send(1, "basic.publish", { ...noBody, immediate: true });
      await w.header(1, 0);
    },
    540,
    "NOT_IMPLEMENTED - immediate=true",
    "60.40",
  ],
  "prefetch size": [
    (w) => w.send(1, "basic.qos", { prefetchSize: 5, prefetchCount: 0, global: false }),
    540,
    "NOT_IMPLEMENTED - prefetch_size!=0 (5)",
    "60.10",
  ],
  "flow off": [
    (w) => w.send(1, "channel.flow", { active: false }),
    540,
    "NOT_IMPLEMENTED - active=false",
    "20.20",
  ],
  "recover without requeue": [
    (w) => w.send(1, "basic.recover", { requeue: false }),
    540,
    "NOT_IMPLEMENTED - requeue=false",
    "60.110",
  ],
  "a channel opened twice": [
    (w) => w.send(1, "channel.open", { outOfBand: "" }),
    504,
    "CHANNEL_ERROR - second 'channel.open' seen",
    "20.10",
  ],
  "a channel opened again before its close-ok": [
    async (w) => {
      await w.send(1, "basic.get", { ticket: 0, queue: crypto.randomUUID(), noAck: true });
      await w.expect("channel.close");
      await w.send(1, "channel.open", { outOfBand: "" });
    },
    504,
    "CHANNEL_ERROR - second 'channel.open' seen",
    "20.10",
  ],
  "a close-ok that nobody waits for": [
    (w) => w.send(1, "channel.close-ok", {}),
    503,
    "COMMAND_INVALID - unimplemented method",
    "20.41",
  ],
  "a close-ok of the connection that nobody waits for": [
    (w) => w.send(0, "connection.close-ok", {}),
    504,
    "CHANNEL_ERROR - unexpected method in connection state running",
    "10.51",
  ],
  "an answer that only a server gives": [
    (w) => w.send(1, "queue.declare-ok", { queue: "x", messageCount: 0, consumerCount: 0 }),
    503,
    "COMMAND_INVALID - unimplemented method",
    "50.11",
  ],
  "a method that is cut": [
    (w) => w.frame(1, 1, Buffer.of(0, 60, 0, 10, 0, 0, 0, 0, 0)),
    501,
    "FRAME_ERROR - cannot decode <<0,0,0,0,0>>",
    "60.10",
  ],
  "a method with more behind it": [
    (w) => w.frame(1, 1, Buffer.of(0, 60, 0, 10, 0, 0, 0, 0, 0, 0, 0, 9, 9)),
    501,
    "FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,9,9>>",
    "60.10",
  ],
  "a frame of an unknown type": [
    (w) => w.frame(5, 1, Buffer.from("abc")),
    501,
    `FRAME_ERROR - type 5, all octets = <<"abc">>: unknown_frame`,
    "0.0",
  ],
  "a heartbeat that says something": [
    (w) => w.frame(8, 0, Buffer.from("abc")),
    501,
    `FRAME_ERROR - type 8, all octets = <<"abc">>: unknown_frame`,
    "0.0",
  ],
  "a method without its number": [
    (w) => w.frame(1, 0, Buffer.from("a")),
    501,
    `FRAME_ERROR - type 1, all octets = <<"a">>: unknown_frame`,
    "0.0",
  ],
  "a channel never opened": [
    (w) => w.send(2, "basic.qos", { prefetchSize: 0, prefetchCount: 0, global: false }),
    504,
    "CHANNEL_ERROR - expected 'channel.open'",
    "60.10",
  ],
  "a content header without a method": [
    (w) => w.header(1, 0),
    505,
    "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
    "0.0",
  ],
  "a body without a header": [
    async (w) => {
      await w.send(1, "basic.publish", noBody);
      await w.frame(3, 1, Buffer.from("x"));
    },
    505,
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    "60.40",
  ],
  "a method within a body": [
    async (w) => {
      await w.send(1, "basic.publish", noBody);
      await w.header(1, 5);
      await w.send(1, "tx.select", {});
    },
    505,
    "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
    "60.40",
  ],
  "a header of another class": [
    async (w) => {
      await w.send(1, "basic.publish", noBody);
      await w.header(1, 5, 50);
    },
    505,
    "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
    "60.40",
  ],
  "a frame without its end": [
    (w) => w.frame(1, 1, Buffer.from("abc"), 65),
    501,
    `FRAME_ERROR - type 1, all octets = <<"abc">>: {invalid_frame_end_marker,65}`,
    "0.0",
  ],
  "a frame too large": [
    (w) => w.bytes(Buffer.from([3, 0, 1, 0, 3, 0, 0])),
    501,
    "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,196608,131064}",
    "0.0",
  ],
  "a heartbeat on a channel": [
    (w) => w.frame(8, 1, Buffer.alloc(0)),
    505,
    "UNEXPECTED_FRAME - type 8, all octets = <<>>",
    "0.0",
  ],
  "more channels than tuned": [
    async (w) => {
      for (let i = 2; i <= 11; i++) await w.send(i, "channel.open", { outOfBand: "" });
      for (let i = 2; i <= 10; i++) await w.expect("channel.open-ok");
    },
    530,
    "NOT_ALLOWED - number of channels opened (10) has reached the negotiated channel_max (10)",
    "0.0",
  ],
  "an open in the middle": [
    (w) => w.send(0, "connection.open", { virtualHost: "/", capabilities: "", insist: false }),
    504,
    "CHANNEL_ERROR - unexpected method in connection state running",
    "10.40",
  ],
};

for (const [what, [act, code, text, method]] of Object.entries(hard)) {
  Deno.test(`the connection is closed on ${what}`, async () => {
    await using s = await setup();
    await using wire = await Wire.open(s.url);
    await act(wire);
    assert.deepEqual(await closeOf(wire), [code, text, method]);
    assert.equal(await wire.read(), undefined);
  });
}

Deno.test("a transaction takes effect at commit, not at rollback", async () => {
  await using s = await setup();
  const queue = s.name();
  await (await s.channel()).assertQueue(queue);
  await using wire = await Wire.open(s.url);
  await wire.send(1, "tx.select", {});
  await wire.expect("tx.select-ok");
  await wire.publish("", queue, "lost");
  await wire.send(1, "tx.rollback", {});
  await wire.expect("tx.rollback-ok");
  await wire.publish("", queue, "kept");
  assert.equal(await s.count(queue), 0);
  await wire.send(1, "tx.commit", {});
  await wire.expect("tx.commit-ok");
  assert.equal(await s.count(queue), 1);
  // An acknowledgement that is rolled back leaves the message unacknowledged, not ready.
  await wire.send(1, "basic.get", { ticket: 0, queue, noAck: false });
  const { deliveryTag } = await wire.expect("basic.get-ok");
  await wire.read();
  await wire.read();
  await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
  await wire.send(1, "tx.rollback", {});
  await wire.expect("tx.rollback-ok");
  await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
  await wire.send(1, "tx.commit", {});
  await wire.expect("tx.commit-ok");
  await wire.send(1, "channel.close", { replyCode: 0, replyText: "", classId: 0, methodId: 0 });
  await wire.expect("channel.close-ok");
  assert.equal(await s.count(queue), 0);
});

Deno.test("confirm and tx do not mix, and tx methods need tx.select", async () => {
  await using s = await setup();
  const texts: string[] = [];
  for (const sequence of [["confirm", "tx"], ["tx", "confirm"], ["commit"], ["rollback"]]) {
    await using wire = await Wire.open(s.url);
    for (const step of sequence) {
      if (step === "confirm") await wire.send(1, "confirm.select", { nowait: false });
      else if (step === "tx") await wire.send(1, "tx.select", {});
      else if (step === "commit") await wire.send(1, "tx.commit", {});
      else await wire.send(1, "tx.rollback", {});
      const reply = await wire.read();
      if (reply?.method === "channel.close") texts.push(`${reply.args!.replyText}`);
    }
  }
  assert.deepEqual(texts, [
    "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
    "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
    "PRECONDITION_FAILED - channel is not transactional",
    "PRECONDITION_FAILED - channel is not transactional",
  ]);
});

Deno.test("frames of one channel may come between the content of another", async () => {
  await using s = await setup();
  const queue = s.name();
  await (await s.channel()).assertQueue(queue);
  await using wire = await Wire.open(s.url);
  await wire.send(2, "channel.open", { outOfBand: "" });
  await wire.expect("channel.open-ok");
  const publish = { ...noBody, routingKey: queue };
  await wire.send(1, "basic.publish", publish);
  await wire.send(2, "basic.publish", publish);
  await wire.header(1, 4);
  await wire.header(2, 2);
  await wire.frame(3, 1, Buffer.from("ab"));
  await wire.frame(3, 2, Buffer.from("xy"));
  await wire.frame(3, 1, Buffer.from("cd"));
  await until(async () => await s.count(queue) === 2);
  const bodies: string[] = [];
  for (let number = 0; number < 2; number++) {
    await wire.send(1, "basic.get", { ticket: 0, queue, noAck: true });
    await wire.expect("basic.get-ok");
    await wire.read();
    bodies.push((await wire.read())!.payload.toString());
  }
  assert.deepEqual(bodies.sort(), ["abcd", "xy"]); // nothing orders what comes over two channels
});

Deno.test("nowait methods are not answered", async () => {
  await using s = await setup();
  const queue = s.name();
  await using wire = await Wire.open(s.url);
  const none = new Map();
  await wire.send(1, "queue.declare", {
    ticket: 0,
    queue,
    passive: false,
    durable: false,
    exclusive: false,
    autoDelete: false,
    nowait: true,
    arguments: none,
  });
  await wire.send(1, "queue.bind", {
    ticket: 0,
    queue,
    exchange: "amq.direct",
    routingKey: "k",
    nowait: true,
    arguments: none,
  });
  await wire.send(1, "queue.purge", { ticket: 0, queue, nowait: true });
  await wire.send(1, "confirm.select", { nowait: true });
  await wire.send(1, "access.request", {
    realm: "/data",
    exclusive: false,
    passive: true,
    active: true,
    write: true,
    read: true,
  });
  assert.deepEqual(await wire.expect("access.request-ok"), { ticket: 1 });
});

Deno.test("queue.delete is answered before its consumers are told", async () => {
  await using s = await setup();
  const queue = s.name();
  await (await s.channel()).assertQueue(queue);
  await using wire = await Wire.open(s.url, { consumer_cancel_notify: true });
  await wire.send(1, "basic.consume", {
    ticket: 0,
    queue,
    consumerTag: "c",
    noLocal: false,
    noAck: true,
    exclusive: false,
    nowait: false,
    arguments: new Map(),
  });
  await wire.expect("basic.consume-ok");
  await wire.send(1, "queue.delete", {
    ticket: 0,
    queue,
    ifUnused: false,
    ifEmpty: false,
    nowait: false,
  });
  await wire.expect("queue.delete-ok");
  assert.deepEqual(await wire.expect("basic.cancel"), { consumerTag: "c", nowait: true });
});

Deno.test("basic.recover is answered before the redeliveries", async () => {
  await using s = await setup();
  const queue = s.name();
  const channel = await s.confirmChannel();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["x"]);
  await using wire = await Wire.open(s.url);
  await wire.consume(queue);
  await wire.expect("basic.deliver");
  await wire.read();
  await wire.read();
  await wire.send(1, "basic.recover", { requeue: true });
  await wire.expect("basic.recover-ok");
  assert.equal((await wire.expect("basic.deliver")).redelivered, true);
});

Deno.test("a rejected message's nack has the requeue bit", async () => {
  await using s = await setup();
  const queue = s.name();
  await (await s.channel()).assertQueue(queue, {
    maxLength: 0,
    arguments: { "x-overflow": "reject-publish" },
  });
  await using wire = await Wire.open(s.url);
  await wire.send(1, "confirm.select", { nowait: false });
  await wire.expect("confirm.select-ok");
  await wire.publish("", queue, "x");
  assert.equal((await wire.expect("basic.nack")).requeue, true);
});
