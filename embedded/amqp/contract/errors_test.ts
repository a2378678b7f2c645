import assert from "node:assert/strict";
import { bytes, type Channel, type Close, type Setup, setup } from "./harness.ts";

/** Cases: what a client does, what the server answers. `Q` and `X` are unique names. */
const channelErrors: Record<string, [act: (c: Channel, n: string, s: Setup) => unknown, Close]> = {
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
  "redeclaration with another durable": [
    async (c, n) => {
      await c.assertQueue(n, { durable: true });
      await c.assertQueue(n, { durable: false });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'N' in vhost '/': received 'false' but current is 'true'",
    },
  ],
  "redeclaration with another auto_delete": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.assertQueue(n, { autoDelete: true });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'N' in vhost '/': received 'true' but current is 'false'",
    },
  ],
  "redeclaration with another argument": [
    async (c, n) => {
      await c.assertQueue(n, { messageTtl: 1000 });
      await c.assertQueue(n, { messageTtl: 2000 });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'N' in vhost '/': received '2000' but current is '1000'",
    },
  ],
  "redeclaration without an argument": [
    async (c, n) => {
      await c.assertQueue(n, { maxLength: 5 });
      await c.assertQueue(n);
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'N' in vhost '/': received none but current is the value '5' of type 'byte'",
    },
  ],
  "redeclaration with a new string argument": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.assertQueue(n, { deadLetterExchange: "x" });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'N' in vhost '/': received the value 'x' of type 'longstr' but current is none",
    },
  ],
  "exchange redeclaration with another type": [
    async (c, n) => {
      await c.assertExchange(n, "direct");
      await c.assertExchange(n, "fanout");
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'N' in vhost '/': received 'fanout' but current is 'direct'",
    },
  ],
  "exchange redeclaration with another durable": [
    async (c, n) => {
      await c.assertExchange(n, "direct");
      await c.assertExchange(n, "direct", { durable: false });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'N' in vhost '/': received 'false' but current is 'true'",
    },
  ],
  "exchange redeclaration with another alternate": [
    async (c, n) => {
      await c.assertExchange(n, "direct", { alternateExchange: "a" });
      await c.assertExchange(n, "direct", { alternateExchange: "b" });
    },
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'N' in vhost '/': received 'b' but current is 'a'",
    },
  ],
  "a queue name with the reserved prefix": [
    (c) => c.assertQueue("amq.mine"),
    {
      code: 403,
      text: "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
    },
  ],
  "an exchange name with the reserved prefix": [
    (c) => c.assertExchange("amq.mine", "direct"),
    {
      code: 403,
      text: "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    },
  ],
  "declaring the default exchange": [
    (c) => c.assertExchange("", "direct"),
    { code: 403, text: "ACCESS_REFUSED - operation not permitted on the default exchange" },
  ],
  "binding to the default exchange": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.bindQueue(n, "", "k");
    },
    { code: 403, text: "ACCESS_REFUSED - operation not permitted on the default exchange" },
  ],
  "deleting a predeclared exchange": [
    (c) => c.deleteExchange("amq.direct"),
    {
      code: 403,
      text: "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    },
  ],
  "deleting a used exchange if unused": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.assertExchange(n, "fanout");
      await c.bindQueue(n, n, "");
      await c.deleteExchange(n, { ifUnused: true });
    },
    { code: 406, text: "PRECONDITION_FAILED - exchange 'N' in vhost '/' in use" },
  ],
  "deleting a consumed queue if unused": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {});
      await c.deleteQueue(n, { ifUnused: true });
    },
    { code: 406, text: "PRECONDITION_FAILED - queue 'N' in vhost '/' in use" },
  ],
  "deleting a full queue if empty": [
    async (c, n, s) => {
      await c.assertQueue(n);
      c.sendToQueue(n, bytes("x"));
      while (await s.count(n) === 0);
      await c.deleteQueue(n, { ifEmpty: true });
    },
    { code: 406, text: "PRECONDITION_FAILED - queue 'N' in vhost '/' not empty" },
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
  "a negative TTL": [
    (c, n) => c.assertQueue(n, { messageTtl: -1 }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'N' in vhost '/': {value_negative,-1}",
    },
  ],
  "x-expires 0": [
    (c, n) => c.assertQueue(n, { arguments: { "x-expires": 0 } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'N' in vhost '/': {value_zero,0}",
    },
  ],
  "a TTL that is no number": [
    (c, n) => c.assertQueue(n, { arguments: { "x-message-ttl": "1000" } }),
    {
      code: 406,
      text:
        `PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'N' in vhost '/': "expected integer, got longstr"`,
    },
  ],
  "a dead-letter key without an exchange": [
    (c, n) => c.assertQueue(n, { deadLetterRoutingKey: "k" }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'N' in vhost '/': routing_key_but_no_dlx_defined",
    },
  ],
  "a dead-letter exchange that is no string": [
    (c, n) => c.assertQueue(n, { arguments: { "x-dead-letter-exchange": 5 } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid type 'byte' for arg 'x-dead-letter-exchange' in queue 'N' in vhost '/'",
    },
  ],
  "a priority above 255": [
    (c, n) => c.assertQueue(n, { maxPriority: 256 }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'N' in vhost '/': {max_value_exceeded,256}",
    },
  ],
  "an unknown overflow": [
    (c, n) => c.assertQueue(n, { arguments: { "x-overflow": "burst" } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'N' in vhost '/': invalid_overflow",
    },
  ],
  "an unknown queue type": [
    (c, n) => c.assertQueue(n, { arguments: { "x-queue-type": "heap" } }),
    {
      code: 406,
      text:
        `PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'N' in vhost '/': "unsupported queue type 'heap'"`,
    },
  ],
  "a priority on a quorum queue": [
    (c, n) => c.assertQueue(n, { arguments: { "x-queue-type": "quorum", "x-max-priority": 5 } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'N' in vhost '/' of queue type rabbit_quorum_queue",
    },
  ],
  "a delivery limit on a classic queue": [
    (c, n) => c.assertQueue(n, { arguments: { "x-delivery-limit": 5 } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'N' in vhost '/' of queue type rabbit_classic_queue",
    },
  ],
  "a quorum queue that is not durable": [
    (c, n) => c.assertQueue(n, { durable: false, arguments: { "x-queue-type": "quorum" } }),
    {
      code: 406,
      text: "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'N' in vhost '/'",
    },
  ],
  "an exclusive quorum queue": [
    (c, n) => c.assertQueue(n, { exclusive: true, arguments: { "x-queue-type": "quorum" } }),
    {
      code: 406,
      text: "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'N' in vhost '/'",
    },
  ],
  "an auto-delete quorum queue": [
    (c, n) => c.assertQueue(n, { autoDelete: true, arguments: { "x-queue-type": "quorum" } }),
    {
      code: 406,
      text: "PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'N' in vhost '/'",
    },
  ],
  "a server-named quorum queue": [
    (c) => c.assertQueue("", { arguments: { "x-queue-type": "quorum" } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
    },
  ],
  "a headers binding with an unknown x-match": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.bindQueue(n, "amq.headers", "", { "x-match": "some" });
    },
    {
      code: 406,
      text:
        `PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x`,
    },
  ],
  "an alternate exchange that is no string": [
    (c, n) => c.assertExchange(n, "direct", { arguments: { "alternate-exchange": 5 } }),
    {
      code: 406,
      text:
        "PRECONDITION_FAILED - invalid type 'byte' for arg 'alternate-exchange' in exchange 'N' in vhost '/'",
    },
  ],
  "a consumer priority that is no number": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {}, { arguments: { "x-priority": "high" } });
    },
    {
      code: 406,
      text:
        `PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'N' in vhost '/': "expected integer, got longstr"`,
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
};

for (const [what, [act, expected]] of Object.entries(channelErrors)) {
  Deno.test(`channel closes on ${what}`, async () => {
    await using s = await setup();
    const name = s.name();
    const close = await s.closeOfChannel((channel) => act(channel, name, s));
    assert.deepEqual({ ...close, text: close.text.replaceAll(name, "N") }, expected);
  });
}

const connectionErrors: typeof channelErrors = {
  "an unknown exchange type": [
    (c, n) => c.assertExchange(n, "x-unknown"),
    { code: 503, text: "COMMAND_INVALID - unknown exchange type 'x-unknown'" },
  ],
  "a consumer tag used twice": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.consume(n, () => {}, { consumerTag: "same" });
      await c.consume(n, () => {}, { consumerTag: "same" });
    },
    { code: 530, text: "NOT_ALLOWED - attempt to reuse consumer tag 'same'" },
  ],
};

for (const [what, [act, expected]] of Object.entries(connectionErrors)) {
  Deno.test(`connection closes on ${what}`, async () => {
    await using s = await setup();
    const name = s.name();
    const close = await s.closeOfConnection((channel) => act(channel, name, s));
    assert.deepEqual({ ...close, text: close.text.replaceAll(name, "N") }, expected);
  });
}

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
