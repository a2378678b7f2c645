import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { NotSaved, parseSaved, savedLine } from "./saved.ts";

Deno.test("a saved message comes back as it was, whatever its bytes and headers", () => {
  const text = fc.string({ unit: "binary" });
  const leaf = fc.oneof(
    text,
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.record({ "!": fc.constant("timestamp"), value: fc.nat() }),
  );
  const key = text.filter((name) => !["!", "__proto__"].includes(name));
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie("any")), fc.dictionary(key, tie("any"))),
  })).any;
  const message = fc.record({
    time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-01-01") }),
    exchange: text,
    routingKey: text,
    body: fc.oneof(fc.uint8Array(), text.map((each) => new TextEncoder().encode(each))),
    properties: fc.record({
      messageId: text,
      contentType: text,
      timestamp: fc.nat(),
      priority: fc.nat(255),
      headers: fc.dictionary(key, value, { minKeys: 1 }),
    }, { requiredKeys: [] }),
  });
  fc.assert(fc.property(message, (saved) => {
    const line = savedLine(saved);
    assert(!line.includes("\n"));
    const back = parseSaved(line);
    assert.deepEqual([...back.body], [...saved.body]);
    const { body: _, ...others } = back;
    const { body: __, ...expected } = saved;
    assert.deepEqual(plain(others), plain(expected));
  }));
});

/** Doubles that JSON does not have come back as amqplib takes them; a negative zero comes back as a zero. */
function plain(value: unknown): unknown {
  if (typeof value === "number") {
    return Number.isFinite(value) && value >= -(2 ** 63) ? value + 0 : { "!": "double", value };
  }
  if (value instanceof Uint8Array) return [...value];
  if (value instanceof Date || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  if ((value as Record<string, unknown>)["!"] === "double") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

Deno.test("a double that is no 64-bit integer is one for amqplib, too", () => {
  const saved = { exchange: "", routingKey: "q", body: new Uint8Array(), properties: {} };
  const back = parseSaved(savedLine({ ...saved, properties: { headers: { a: [-1e300, 1e300] } } }));
  assert.deepEqual(back.properties.headers, { a: [{ "!": "double", value: -1e300 }, 1e300] });
});

Deno.test("a line that is no saved message is refused, with what is wrong", () => {
  const good = { exchange: "", routingKey: "q", properties: {}, body: "x" };
  parseSaved(JSON.stringify(good));
  parseSaved(JSON.stringify({ ...good, note: "members that are not known are left alone" }));
  const wrong: [string, RegExp][] = [
    ["", /no JSON/],
    ['{"exchange":"x","rou', /no JSON/],
    ["[]", /no JSON object/],
    ["null", /no JSON object/],
    ...[
      [{ exchange: 1 }, /'exchange'/],
      [{ routingKey: null }, /'routingKey'/],
      [{ body: 5 }, /'body'/],
      [{ bodyBase64: "eA==" }, /one text/],
      [{ body: undefined }, /one text/],
      [{ body: undefined, bodyBase64: "!!!" }, /not base64/],
      [{ properties: [] }, /'properties'/],
      [{ properties: { messageid: "a" } }, /no property 'messageid'/],
      [{ properties: { priority: "1" } }, /'priority' is no number/],
      [{ properties: { messageId: 1 } }, /'messageId' is no text/],
      [{ headers: "x" }, /'headers'/],
      [{ headers: { a: { "!": "bytes", base64: "!!!" } } }, /header 'a' is no bytes/],
      [{ headers: { a: { "!": "bytes" } } }, /header 'a' is no bytes/],
      [{ headers: { a: [{ "!": "double", value: "x" }] } }, /header 'a' is no double/],
      [{ headers: { a: { "!": "timestamp", value: -1 } } }, /header 'a' is no timestamp/],
      [{ headers: { a: { "!": "decimal", value: 1 } } }, /header 'a' is no decimal/],
      [{ headers: { a: { b: { "!": "int" } } } }, /header 'a': there is no type 'int'/],
      [{ headers: { a: JSON.parse("[".repeat(5000) + "]".repeat(5000)) } }, /'a' is nested more/],
      [{ time: "yesterday" }, /'time'/],
    ].map(([change, why]) =>
      [JSON.stringify({ ...good, ...change as object }), why] as [string, RegExp]
    ),
  ];
  for (const [line, why] of wrong) {
    assert.throws(() => parseSaved(line), (error: Error) => {
      assert(error instanceof NotSaved);
      assert.match(error.message, why, line);
      return true;
    });
  }
});
