import assert from "node:assert/strict";
import fc from "fast-check";
import { numberText, parseExactly } from "./json.ts";

const parse = (text: string) => parseExactly(new TextEncoder().encode(text));

Deno.test("parseExactly() is JSON.parse() for all that JavaScript can write", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value);
    assert.equal(JSON.stringify(parse(text)), text);
    assert.deepEqual(JSON.parse(JSON.stringify(parse(text))), JSON.parse(text));
  }));
});

Deno.test("parseExactly() keeps every number as it was written", () => {
  const number = fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/);
  fc.assert(
    fc.property(number, (text) => {
      assert.equal(JSON.stringify(parse(`[${text},true,"1.0"]`)), `[${text},true,"1.0"]`);
      assert.equal(numberText(parse(text)), text);
    }),
    { numRuns: 2000, examples: [["9223915.21788678801"]] },
  );
  for (const value of [true, null, "1", {}, []]) assert.equal(numberText(value), undefined);
});

Deno.test("parseExactly() says what is wrong with bytes that are no JSON, in short and printable words", () => {
  const cases: [Uint8Array | string, RegExp][] = [
    [new Uint8Array([0x22, 0xff, 0x22]), /^the body is not UTF-8$/],
    ["\x1b[31m\n".repeat(1000), /^the body is not JSON: /],
    [`{"x":"${"x".repeat(100_000)}`, /^the body is not JSON: /],
    ["[".repeat(200_000), /^the body is not JSON: nested more than 100 levels deep$/],
  ];
  for (const [body, reason] of cases) {
    assert.throws(() => typeof body === "string" ? parse(body) : parseExactly(body), (error) => {
      assert(error instanceof SyntaxError);
      assert.match(error.message, reason);
      assert(error.message.length < 300);
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      return true;
    });
  }
  assert.deepEqual(parse(`\ufeff"a byte order mark"`), "a byte order mark");
});
