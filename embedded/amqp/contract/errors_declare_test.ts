/**
 * Declarations, bindings and deletions that are refused.
 * @module
 */
import { testChannelErrors } from "./errors.ts";
import { bytes } from "./harness.ts";

testChannelErrors({
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
});
