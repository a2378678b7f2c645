import assert from "node:assert/strict";
import { Binary, BSONRegExp } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { compileFilter } from "./matcher.ts";
import { loadRegexEngine } from "./regex.ts";

function matches(filter: Doc, doc: Doc): boolean {
  return compileFilter(filter)(doc);
}

Deno.test("null matches what is missing, but not below an array of scalars", () => {
  // MongoDB's jstests/core/null_query_semantics.js
  for (
    const doc of [{}, { a: null }, { a: {} }, { a: 4 }, { a: { b: null } }, { a: [{ b: 1 }, {}] }]
  ) {
    assert.equal(matches({ "a.b": null }, doc), true, JSON.stringify(doc));
  }
  for (const doc of [{ a: { b: 1 } }, { a: [] }, { a: [1, 2] }, { a: [{ b: 1 }] }]) {
    assert.equal(matches({ "a.b": null }, doc), false, JSON.stringify(doc));
  }
});

await loadRegexEngine();

Deno.test("regular expressions with PCRE's options and inline options", () => {
  const test = (pattern: string, options: string, text: string) =>
    matches({ s: new BSONRegExp(pattern, options) }, { s: text });
  assert.equal(test("^b", "m", "a\nb"), true);
  assert.equal(test("a.b", "s", "a\nb"), true);
  assert.equal(test("a b # comment", "x", "ab"), true);
  assert.equal(test("(?i)AB", "", "ab"), true);
  assert.equal(test("^b", "", "a\nb"), false);
  assert.throws(() => test("(", "", ""), CommandError);
});

Deno.test("bit tests on numbers and binary", () => {
  assert.equal(matches({ a: { $bitsAllSet: 6 } }, { a: 7 }), true);
  assert.equal(matches({ a: { $bitsAllSet: [0, 3] } }, { a: 7 }), false);
  assert.equal(matches({ a: { $bitsAnyClear: 8 } }, { a: 7n }), true);
  assert.equal(matches({ a: { $bitsAllClear: 1 } }, { a: new Binary(Uint8Array.of(2)) }), true);
  assert.equal(matches({ a: { $bitsAnySet: 1 } }, { a: "1" }), false);
});

Deno.test("$elemMatch on values, on documents and under $not", () => {
  assert.equal(matches({ a: { $elemMatch: { $gt: 1, $lt: 3 } } }, { a: [0, 5] }), false);
  assert.equal(matches({ a: { $elemMatch: { $gt: 1, $lt: 3 } } }, { a: [0, 2] }), true);
  assert.equal(
    matches({ a: { $elemMatch: { b: 1, c: { $gt: 1 } } } }, { a: [{ b: 1, c: 2 }] }),
    true,
  );
  assert.equal(matches({ a: { $not: { $elemMatch: { $gt: 1 } } } }, { a: [1] }), true);
  assert.equal(matches({ a: { $elemMatch: { $gt: 1 } } }, { a: 2 }), false);
});

Deno.test("a field inherited from Object.prototype is not a field", () => {
  assert.equal(matches({ constructor: { $exists: true } }, {}), false);
  assert.equal(matches({ "a.toString": { $exists: true } }, { a: {} }), false);
});
