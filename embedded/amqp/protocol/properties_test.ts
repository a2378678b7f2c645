import assert from "node:assert/strict";
import fc from "fast-check";
import { Reader } from "./fields.ts";
import {
  decodeProperties,
  encodeProperties,
  type Properties,
  scanProperties,
} from "./properties.ts";

const text = fc.string({ unit: "binary-ascii", maxLength: 255 });
const octet = fc.integer({ min: 0, max: 255 });
const properties: fc.Arbitrary<Properties> = fc.record({
  contentType: text,
  contentEncoding: text,
  headers: fc.array(fc.tuple(fc.constantFrom("a", "CC", "BCC", "x-death"), text), { maxLength: 3 })
    .map((pairs) => new Map(pairs.map(([key, v]) => [key, { t: "S", v }] as const))),
  deliveryMode: octet,
  priority: octet,
  correlationId: text,
  replyTo: text,
  expiration: text,
  messageId: text,
  timestamp: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  type: text,
  userId: text,
  appId: text,
  clusterId: text,
}, { requiredKeys: [] });

Deno.test("properties come back as they were, in any combination", () => {
  fc.assert(fc.property(properties, (given) => {
    const encoded = encodeProperties(given);
    const reader = new Reader(encoded).window(0, encoded.length);
    assert.deepEqual(decodeProperties(reader), { ...given });
    assert.equal(reader.pos, reader.end);
  }));
});

Deno.test("scanning finds what decoding finds", () => {
  fc.assert(fc.property(properties, (given) => {
    const encoded = encodeProperties(given);
    const reader = new Reader(encoded).window(0, encoded.length);
    const scan = scanProperties(reader);
    assert.equal(reader.pos, reader.end);
    assert.equal(scan.persistent, given.deliveryMode === 2);
    assert.equal(scan.priority, given.priority ?? 0);
    assert.equal(scan.expiration, given.expiration);
    assert.equal(scan.replyTo, given.replyTo);
    assert.equal(scan.userId, given.userId);
    const { headers } = given;
    assert.equal(scan.copies, headers?.has("CC") || headers?.has("BCC") || false);
  }));
});
