import assert from "node:assert/strict";
import { Code, Double, serialize } from "bson";
import fc from "fast-check";
import { anyValue } from "../contract/harness.ts";
import { CommandError } from "../errors.ts";
import { decode, type Doc, encode, validate } from "./bson_view.ts";

const document = fc.dictionary(fc.constantFrom("a", "b", "long name", "\u00e9"), anyValue);

Deno.test("decode() and encode() give back the very bytes, every type kept", () => {
  fc.assert(
    fc.property(document, (doc) => {
      const bytes = serialize(doc);
      assert.equal(validate(bytes, 0, bytes.length), bytes.length);
      assert.deepEqual(Uint8Array.from(encode(decode(bytes))), Uint8Array.from(bytes));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decode() tells Int32, Double and Int64 of the same value apart", () => {
  const doc = decode(serialize({ int: 1, double: new Double(1), long: 1n, half: 0.5 }));
  assert.equal(doc.int, 1);
  assert.ok(doc.double instanceof Double);
  assert.equal(doc.long, 1n);
  assert.equal(doc.half, 0.5);
  assert.deepEqual(
    decode(serialize({ __proto__x: 1, code: new Code("f", { a: 1 }) })).code,
    new Code("f", { a: 1 }),
  );
});

Deno.test("a field named __proto__ is a field like any other", () => {
  const bytes = serialize({ xxproto__: { polluted: true } });
  bytes.set(new TextEncoder().encode("__proto__"), 5);
  const doc: Doc = decode(bytes);
  assert.equal((doc as { polluted?: boolean }).polluted, undefined);
  assert.ok(Object.hasOwn(doc, "__proto__"));
});

Deno.test("validate() refuses damaged bytes, and what it accepts can be decoded", () => {
  let refused = 0;
  fc.assert(
    fc.property(
      document,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.nat(3),
      (doc, damage, cut) => {
        const whole = Uint8Array.from(serialize(doc));
        for (const [at, value] of damage) whole[at % whole.length] = value;
        const bytes = whole.subarray(0, whole.length - cut);
        try {
          validate(bytes, 0, bytes.length);
        } catch (error) {
          assert.ok(error instanceof CommandError, String(error));
          refused++;
          return;
        }
        decode(bytes);
      },
    ),
    { numRuns: 5000 },
  );
  assert.ok(refused > 100);
});
