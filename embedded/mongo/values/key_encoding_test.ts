import assert from "node:assert/strict";
import { Decimal128, Double, MaxKey, MinKey, ObjectId } from "bson";
import fc from "fast-check";
import { anyValue, numberValue } from "../contract/harness.ts";
import { compare } from "./compare.ts";
import { afterPrefix, encodeKey, encodeKeys } from "./key_encoding.ts";

function byteOrder(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return Math.sign(a[i]! - b[i]!);
  }
  return Math.sign(a.length - b.length);
}

Deno.test("encodeKey() orders numbers of all four types by value", () => {
  fc.assert(
    fc.property(numberValue, numberValue, (a, b) => {
      assert.equal(byteOrder(encodeKey(a), encodeKey(b)), Math.sign(compare(a, b)));
    }),
    { numRuns: 5000 },
  );
});

Deno.test("encodeKey() orders any two values as MongoDB compares them", () => {
  fc.assert(
    fc.property(anyValue, anyValue, (a, b) => {
      assert.equal(byteOrder(encodeKey(a), encodeKey(b)), Math.sign(compare(a, b)));
    }),
    { numRuns: 5000 },
  );
});

Deno.test("compare() orders the types as the manual lists them", () => {
  // https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
  const ascending = [
    new MinKey(),
    null,
    -1,
    0.5,
    1n,
    Decimal128.fromString("1.5"),
    "A",
    "a",
    {},
    { a: 1 },
    [],
    [1],
    new ObjectId("000000000000000000000000"),
    false,
    true,
    new Date(0),
    new MaxKey(),
  ];
  for (let i = 1; i < ascending.length; i++) {
    assert.ok(compare(ascending[i - 1], ascending[i]) < 0, `${i - 1} before ${i}`);
  }
  assert.equal(compare(1, new Double(1)), 0);
  assert.equal(compare(1, Decimal128.fromString("1.00")), 0);
  assert.ok(compare(9007199254740992, 9007199254740993n) < 0);
});

Deno.test("encodeKeys() orders compound keys field by field, descending ones backwards", () => {
  const pair = fc.tuple(anyValue, anyValue);
  fc.assert(
    fc.property(pair, pair, fc.boolean(), fc.boolean(), (a, b, first, second) => {
      const expected = (compare(a[0], b[0]) * (first ? -1 : 1)) ||
        (compare(a[1], b[1]) * (second ? -1 : 1));
      const down = [first, second];
      // `+ 0`: no negative zero, which strict equality would tell from zero.
      assert.equal(byteOrder(encodeKeys(a, down), encodeKeys(b, down)), Math.sign(expected) + 0);
    }),
    { numRuns: 3000 },
  );
});

Deno.test("afterPrefix() lies above every key that begins with the prefix, and below all other larger ones", () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(bytes, bytes, (prefix, rest) => {
      const after = afterPrefix(prefix);
      if (!after) return prefix.every((byte) => byte === 0xff);
      const longer = Uint8Array.from([...prefix, ...rest]);
      assert.ok(byteOrder(longer, after) < 0);
      const begins = rest.length >= prefix.length && prefix.every((byte, i) => rest[i] === byte);
      if (!begins && byteOrder(rest, prefix) > 0) assert.ok(byteOrder(rest, after) >= 0);
    }),
  );
});
