import assert from "node:assert/strict";
import { whereOf } from "./where.ts";

function message(body: string, more: object = {}) {
  return {
    ...{ exchange: "x", routingKey: "a.b", body: new TextEncoder().encode(body) },
    properties: { messageId: "m", headers: { n: 5, deep: { list: [1, 2, 3] } } },
    time: new Date("2026-01-31T12:00:00Z"),
    ...more,
  };
}
const error = message(
  '{"level":"error","code":7,"tags":["a","b"],"user":{"name":"Zoë"},"none":null}',
);

/** What MongoDB answers to these. */
const cases: [object, boolean][] = [
  [{ "body.level": "error" }, true],
  [{ "body.level": "warn" }, false],
  [{ "body.code": { $gt: 6, $lt: 8 } }, true],
  [{ "body.code": { $gt: "6" } }, false],
  [{ "body.code": { $in: [1, 7] } }, true],
  [{ "body.code": { $nin: [1, 7] } }, false],
  [{ "body.code": { $mod: [4, 3] } }, true],
  [{ "body.code": { $type: "number" } }, true],
  [{ "body.tags": "a" }, true],
  [{ "body.tags": ["a", "b"] }, true],
  [{ "body.tags": { $all: ["b", "a"] } }, true],
  [{ "body.tags": { $size: 2 } }, true],
  [{ "body.tags.1": "b" }, true],
  [{ "body.user.name": { $regex: "^Z" } }, true],
  [{ "body.user.name": { $regex: "^z", $options: "i" } }, true],
  [{ "body.user.name": { $not: { $regex: "^z" } } }, true],
  [{ "body.user.name": { $regex: "^Z", $ne: "Zoë" } }, false],
  [{ "body.user.name": { $regex: "^Z", $ne: "Zoe" } }, true],
  [{ $or: [{ "body.user.name": { $regex: "x" } }, { "body.tags": { $regex: "^b$" } }] }, true],
  [{ "body.tags": { $elemMatch: { $regex: "^b" } } }, true],
  [{ "body.user": { name: "Zoë" } }, true],
  [{ "body.none": null }, true],
  [{ "body.missing": null }, true],
  [{ "body.none": { $exists: true } }, true],
  [{ "body.missing": { $exists: true } }, false],
  [{ "body.missing": { $ne: 1 } }, true],
  [{ $or: [{ "body.code": 1 }, { routingKey: "a.b" }] }, true],
  [{ $and: [{ "body.code": 7 }, { exchange: "y" }] }, false],
  [{ $nor: [{ "body.code": 1 }] }, true],
  [{ "body.code": { $not: { $gt: 6 } } }, false],
  [{ "headers.n": { $gte: 5 } }, true],
  [{ "headers.deep.list": { $elemMatch: { $gt: 2 } } }, true],
  [{ "properties.messageId": "m" }, true],
  [{ time: { $gte: "2026-01-31", $lt: "2026-02-01" } }, true],
  [{ text: { $regex: "level" } }, true],
  [{}, true],
];

Deno.test("--where answers as MongoDB does", async () => {
  for (const [query, expected] of cases) {
    const where = await whereOf(JSON.stringify(query));
    assert.equal(where(error), expected, JSON.stringify(query));
  }
});

Deno.test("--where knows a body that is no JSON, or no text", async () => {
  const plain = await whereOf('{"body": {"$exists": false}, "text": {"$regex": "ell"}}');
  assert.equal(plain(message("hello")), true);
  assert.equal(plain(error), false);
  const binary = await whereOf('{"text": {"$exists": false}}');
  assert.equal(binary(message("", { body: new Uint8Array([255, 0]) })), true);
  assert.equal((await whereOf(""))(error), true);
});

Deno.test("--where refuses what is no query, in one line", async () => {
  const wrong = [
    ...["{", "[]", "5", "null", '"a"'],
    ...['{"$foo": 1}', '{"a": {"$foo": 1}}', '{"$and": 1}', '{"a": {"$in": 1}}'],
    ...['{"a": {"$regex": "("}}', '{"$where": "true"}', '{"$and": [{"$where": "1"}]}'],
    ...['{"$expr": {"$function": {"body": "x", "args": [], "lang": "js"}}}'],
    `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`,
    ...['{"$expr": {"$regexMatch": {"input": "$text", "regex": "(a+)+$"}}}'],
    ...['{"a": {"$matches": "x"}}', '{"a": {"$regex": "x", "$options": "x"}}'],
  ];
  for (const query of wrong) {
    await assert.rejects(
      whereOf(query),
      { name: "UsageError", message: /^--where: [^\n]+$/ },
      query,
    );
  }
});

Deno.test("--where matches a hostile text in no time", async () => {
  const where = await whereOf('{"text": {"$regex": "^(a+)+$"}}');
  const since = performance.now();
  assert.equal(where(message("a".repeat(10_000) + "!")), false);
  assert(performance.now() - since < 1000);
});
