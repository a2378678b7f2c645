import assert from "node:assert/strict";
import fc from "fast-check";
import { printable, shown, textOf } from "./text.ts";
import { withoutPassword } from "./url.ts";

Deno.test("printable() leaves no character that moves the cursor or begins a line, and cuts", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.doesNotMatch(printable(text), /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
  }));
  assert.equal(printable("a\x1b[2J\nb\u009b\u202e"), "a\\x1b[2J\\nb\\x9b\\u202e");
  assert.equal(printable("größe 😀"), "größe 😀");
  assert.equal(printable("x".repeat(20), 5), "xxxxx... (20 characters)");
});

Deno.test("shown() is the text where there is one, and shows every byte where there is none", () => {
  fc.assert(fc.property(fc.uint8Array(), (body) => {
    const text = textOf(body);
    if (text !== undefined) assert.equal(shown(body), printable(text));
    else assert.match(shown(body), /^[\x20-\x7e]*$/);
  }));
});

Deno.test("withoutPassword() takes a time linear to the text's length", () => {
  const time = (text: string) => {
    const since = performance.now();
    withoutPassword(text);
    return performance.now() - since;
  };
  // Quadratic it took minutes.
  assert(time("://".repeat(200_000)) < 1000);
  assert(time("://@".repeat(200_000)) < 1000);
  assert(time("://a b".repeat(100_000)) < 1000);
});
