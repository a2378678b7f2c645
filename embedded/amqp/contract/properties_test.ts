/**
 * Properties of a message that are malformed.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setup } from "./harness.ts";
import { closeOf, Wire } from "./wire.ts";

/** A table with one field: the key `a`, then these bytes. */
function table(...bytes: (string | number)[]): Buffer {
  const content = Buffer.concat([
    Buffer.of(1, 0x61),
    ...bytes.map((part) =>
      typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.of(part)
    ),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  return Buffer.concat([length, content]);
}

const withHeaders = (...field: (string | number)[]) =>
  Buffer.concat([Buffer.of(0x20, 0), table(...field)]);
const properties: Record<string, Buffer> = {
  "a header of an unknown type": withHeaders("Zxx"),
  "a header of an unknown type in a table": withHeaders("F", 0, 0, 0, 3, 1, "bZ"),
  "a header of an unknown type in an array": withHeaders("A", 0, 0, 0, 1, "Z"),
  "a header that is longer than its table": withHeaders("S", 0, 0, 0, 50, "abc"),
  "a header that is cut": withHeaders("I", 0, 0),
  "a header that is not a number": withHeaders("d", 0x7f, 0xf8, 0, 0, 0, 0, 0, 0),
  "a header that is infinite": withHeaders("d", 0x7f, 0xf0, 0, 0, 0, 0, 0, 0),
  "properties with more behind them": Buffer.of(0, 0, 1),
  "properties that are cut": Buffer.of(0x80, 0, 9, 65),
  "properties without flags": Buffer.alloc(0),
};

for (const [what, encoded] of Object.entries(properties)) {
  Deno.test(`the connection is closed on ${what}`, async () => {
    await using s = await setup();
    const queue = s.name();
    await (await s.channel()).assertQueue(queue, { messageTtl: 1, deadLetterExchange: "" });
    await using wire = await Wire.open(s.url);
    await wire.send(1, "basic.publish", {
      ticket: 0,
      exchange: "",
      routingKey: queue,
      mandatory: false,
      immediate: false,
    });
    const head = Buffer.alloc(12);
    head.writeUInt16BE(60, 0);
    await wire.frame(2, 1, Buffer.concat([head, encoded]));
    const [code, text] = await closeOf(wire);
    assert.equal(code, 541);
    assert.match(text, /^INTERNAL_ERROR/);
    // The server lives on.
    assert.equal(await s.count(queue), 0);
  });
}
