/**
 * Arguments of queue.declare, exchange.declare, queue.bind and basic.consume that are refused.
 * @module
 */
import { testChannelErrors } from "./errors.ts";

testChannelErrors({
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
  "a headers binding with an empty x-match": [
    async (c, n) => {
      await c.assertQueue(n);
      await c.bindQueue(n, "amq.headers", "", { "x-match": "" });
    },
    {
      code: 406,
      text:
        `PRECONDITION_FAILED - Invalid x-match field value <<>>; expected all, any, all-with-x, or any-with-x`,
    },
  ],
  "an exclusive consumer of a queue with a single active one": [
    async (c, n) => {
      await c.assertQueue(n, { arguments: { "x-single-active-consumer": true } });
      await c.consume(n, () => {}, { exclusive: true });
    },
    { code: 403, text: "ACCESS_REFUSED - queue 'N' in vhost '/' in exclusive use" },
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
});
