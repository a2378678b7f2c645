/**
 * What is refused to who publishes, consumes and acknowledges.
 * @module
 */
import assert from "node:assert/strict";
import { testChannelErrors, testConnectionErrors } from "./errors.ts";
import { bytes, type Channel, publishAll, setup } from "./harness.ts";

testChannelErrors({
  "passive declare of a missing queue": [
    (c, n) => c.checkQueue(n),
    { code: 404, text: "NOT_FOUND - no queue 'N' in vhost '/'" },
  ],
  "passive declare of a missing exchange": [
    (c, n) => c.checkExchange(n),
    { code: 404, text: "NOT_FOUND - no exchange 'N' in vhost '/'" },
  ],
  "publish to a missing exchange": [
    (c, n) => c.publish(n, "k", bytes("x")),
    { code: 404, text: "NOT_FOUND - no exchange 'N' in vhost '/'" },
  ],
  "consume from a missing queue": [
    (c, n) => c.consume(n, () => {}),
    { code: 404, text: "NOT_FOUND - no queue 'N' in vhost '/'" },
  ],
  "get from a missing queue": [
    (c, n) => c.get(n),
    { code: 404, text: "NOT_FOUND - no queue 'N' in vhost '/'" },
  ],
  "bind to a missing exchange": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.bindQueue(n, n, "k");
    },
    { code: 404, text: "NOT_FOUND - no exchange 'N' in vhost '/'" },
  ],
  "bind of a missing queue": [
    (c, n) => c.bindQueue(n, "amq.direct", "k"),
    { code: 404, text: "NOT_FOUND - no queue 'N' in vhost '/'" },
  ],
  "purge of a missing queue": [
    (c, n) => c.purgeQueue(n),
    { code: 404, text: "NOT_FOUND - no queue 'N' in vhost '/'" },
  ],
  "empty queue name without a declaration": [
    (c) => c.get(""),
    { code: 404, text: "NOT_FOUND - no previously declared queue" },
  ],
  "a queue that another connection has for itself": [
    async (c, n, s) => {
      await (await s.channel()).assertQueue(n, { exclusive: true });
      await c.assertQueue(n, { exclusive: true });
    },
    {
      code: 405,
      text:
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'N' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original dec...",
    },
  ],
  "consuming what another connection has for itself": [
    async (c, n, s) => {
      await (await s.channel()).assertQueue(n, { exclusive: true });
      await c.consume(n, () => {});
    },
    {
      code: 405,
      text:
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'N' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original dec...",
    },
  ],
  "a second exclusive consumer": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {}, { exclusive: true });
      await c.consume(n, () => {});
    },
    { code: 403, text: "ACCESS_REFUSED - queue 'N' in vhost '/' in exclusive use" },
  ],
  "an exclusive consumer beside another": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {});
      await c.consume(n, () => {}, { exclusive: true });
    },
    { code: 403, text: "ACCESS_REFUSED - queue 'N' in vhost '/' in exclusive use" },
  ],
  "acknowledging an unknown tag": [
    (c) => c.ack({ fields: { deliveryTag: 77 } } as never),
    { code: 406, text: "PRECONDITION_FAILED - unknown delivery tag 77" },
  ],
  "acknowledging twice": [
    async (c, n, s) => {
      await c.assertQueue(n);
      c.sendToQueue(n, bytes("x"));
      while (await s.count(n) === 0);
      const message = await c.get(n);
      if (message) c.ack(message), c.ack(message);
    },
    { code: 406, text: "PRECONDITION_FAILED - unknown delivery tag 1" },
  ],
  "a bad expiration": [
    (c, n) => c.sendToQueue(n, bytes("x"), { expiration: "soon" }),
    { code: 406, text: "PRECONDITION_FAILED - invalid expiration 'soon': no_integer" },
  ],
  "an expiration with a rest": [
    (c, n) => c.sendToQueue(n, bytes("x"), { expiration: "5s" }),
    { code: 406, text: `PRECONDITION_FAILED - invalid expiration '5s': {leftover_string,"s"}` },
  ],
  "a negative expiration": [
    (c, n) => c.sendToQueue(n, bytes("x"), { expiration: "-1" }),
    { code: 406, text: "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}" },
  ],
  "another's user id": [
    (c, n) => c.sendToQueue(n, bytes("x"), { userId: "somebody" }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
    },
  ],
  "publishing to an internal exchange": [
    async (c, n) => {
      await c.assertExchange(n, "fanout", { internal: true });
      c.publish(n, "", bytes("x"));
    },
    {
      code: 403,
      text: "ACCESS_REFUSED - cannot publish to internal exchange 'N' in vhost '/'",
    },
  ],
  "a reply consumer that acknowledges": [
    (c) => c.consume("amq.rabbitmq.reply-to", () => {}),
    { code: 406, text: "PRECONDITION_FAILED - reply consumer cannot acknowledge" },
  ],
  "a direct reply-to without a reply consumer": [
    (c, n) => c.sendToQueue(n, bytes("x"), { replyTo: "amq.rabbitmq.reply-to" }),
    { code: 406, text: "PRECONDITION_FAILED - fast reply consumer does not exist" },
  ],
  "a CC header that is no array": [
    (c, n) => c.sendToQueue(n, bytes("x"), { headers: { CC: "other" } }),
    {
      code: 406,
      text: `PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}`,
    },
  ],
});

testConnectionErrors({
  "a quorum queue to be deleted if it is unused": [
    async (c, n) => {
      await c.assertQueue(n, { arguments: { "x-queue-type": "quorum" } });
      await c.deleteQueue(n, { ifUnused: true });
    },
    {
      code: 540,
      text:
        "NOT_IMPLEMENTED - cannot delete queue 'N' in vhost '/'. queue.delete operations with if-unused flag set are not supported by quorum queues",
    },
  ],
  "a quorum queue to be deleted if it is empty": [
    async (c, n) => {
      await c.assertQueue(n, { arguments: { "x-queue-type": "quorum" } });
      await c.deleteQueue(n, { ifEmpty: true });
    },
    {
      code: 540,
      text:
        "NOT_IMPLEMENTED - cannot delete queue 'N' in vhost '/'. queue.delete operations with if-empty flag set are not supported by quorum queues",
    },
  ],
  "a consumer tag used twice": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {}, { consumerTag: "same" });
      await c.consume(n, () => {}, { consumerTag: "same" });
    },
    { code: 530, text: "NOT_ALLOWED - attempt to reuse consumer tag 'same'" },
  ],
});

Deno.test("other channels live on when one is closed by an error", async () => {
  await using s = await setup();
  const connection = await s.connect();
  const good = await connection.createChannel();
  const bad = await connection.createChannel();
  const closed = new Promise((resolve) => bad.on("error", resolve));
  bad.checkQueue(s.name()).catch(() => {});
  await closed;
  const queue = s.name();
  await good.assertQueue(queue);
  assert.equal((await good.checkQueue(queue)).messageCount, 0);
});

Deno.test("an unknown exchange type closes the channel, before RabbitMQ 4 the connection", async () => {
  await using s = await setup();
  // Of a word that RabbitMQ's own code does not know it says `invalid`.
  const declare = (channel: Channel) => channel.assertExchange(s.name(), "x-unknown");
  const [code, name, close] = await s.isVersion4()
    ? [406, "PRECONDITION_FAILED", await s.closeOfChannel(declare)]
    : [503, "COMMAND_INVALID", await s.closeOfConnection(declare)];
  assert.deepEqual(close, { code, text: `${name} - unknown exchange type 'x-unknown'` });
});

Deno.test("a channel whose message was too large is opened again at once", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return;
  const connection = await s.connect();
  const closed = await connection.createConfirmChannel();
  closed.on("error", () => {});
  const gone = new Promise((resolve) => closed.on("close", resolve));
  closed.sendToQueue("nowhere", bytes("x".repeat(60_000_000)));
  await gone;
  const again = await connection.createConfirmChannel();
  await again.assertQueue(s.name());
});

Deno.test("a body above 16 MiB is refused, before RabbitMQ 4 above 128", async () => {
  await using s = await setup();
  if (!await s.isVersion4()) return;
  const most = 16 * 1024 * 1024;
  const queue = s.name();
  const channel = await s.confirmChannel();
  await channel.assertQueue(queue);
  await publishAll(channel, "", queue, ["x".repeat(most)]);
  assert.deepEqual(
    await s.closeOfChannel((c) => c.sendToQueue(queue, bytes("x".repeat(most + 1)))),
    {
      code: 406,
      text: `PRECONDITION_FAILED - message size ${
        most + 1
      } is larger than configured max size ${most}`,
    },
  );
});
