/** What queries mean, case by case from the manual; the same on this store and, with `MONGO_URL` set, on a MongoDB. @module */
import assert from "node:assert/strict";
// The driver's own classes: its copy of `bson` is another one than ours.
import { BSONRegExp, Decimal128, Double, Int32, Long, MaxKey, MinKey, Timestamp } from "mongodb";
import { errorCode, setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

async function table(documents: Any[], cases: [Any, number[]][], index?: string): Promise<void> {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany(documents.map((doc, _id) => ({ _id, ...doc })));
  if (index) await c.createIndex({ [index]: 1 });
  for (const [filter, ids] of cases) {
    const found = (await c.find(filter).toArray()).map(({ _id }) => _id).sort((a, b) => a - b);
    assert.deepEqual(found, ids, JSON.stringify(filter));
  }
}

// 0 .. 8
const MISSING = [
  {},
  { a: null },
  { a: [] },
  { a: [null] },
  { a: {} },
  { a: { b: null } },
  { a: [{ b: 1 }, {}] },
  { a: 1 },
  { a: [1, [2]] },
];
const MISSING_CASES: [Any, number[]][] = [
  [{ a: null }, [0, 1, 3]],
  [{ a: { $ne: null } }, [2, 4, 5, 6, 7, 8]],
  [{ a: { $in: [null, 1] } }, [0, 1, 3, 7, 8]],
  [{ a: { $nin: [null, 1] } }, [2, 4, 5, 6]],
  [{ a: { $exists: false } }, [0]],
  [{ a: { $exists: true, $type: "null" } }, [1, 3]],
  [{ "a.b": null }, [0, 1, 4, 5, 6, 7]],
  [{ "a.b": { $exists: true } }, [5, 6]],
  [{ "a.0": { $exists: true } }, [3, 6, 8]],
  [{ "a.1": [2] }, [8]],
  [{ "a.1.0": 2 }, [8]],
  [{ "a.0.b": 1 }, [6]],
  [{ a: [] }, [2]],
  [{ a: {} }, [4, 6]],
  [{ a: [1, [2]] }, [8]],
  [{ a: [2] }, [8]],
  [{ a: { $not: { $exists: true } } }, [0]],
  [{ $nor: [{ a: null }, { a: 1 }] }, [2, 4, 5, 6]],
];

Deno.test("null, missing, empty and nested values match as the manual says", async () => {
  await table(MISSING, MISSING_CASES);
});

Deno.test("an index changes none of that", async () => {
  await table(MISSING, MISSING_CASES, "a");
});

Deno.test("numbers of all types compare by value, to the last digit", async () => {
  await table([
    { n: new Int32(1) },
    { n: new Double(1) },
    { n: Long.fromNumber(1) },
    { n: Decimal128.fromString("1.0") },
    { n: new Double(NaN) },
    { n: Decimal128.fromString("NaN") },
    { n: new Double(-0) },
    { n: Long.fromString("9007199254740993") },
    { n: new Double(9007199254740992) },
    { n: Decimal128.fromString("0.1") },
    { n: new Double(0.1) },
    { n: "1" },
    { n: new Double(Infinity) },
  ], [
    [{ n: 1 }, [0, 1, 2, 3]],
    [{ n: NaN }, [4, 5]],
    [{ n: { $gte: NaN } }, [4, 5]],
    [{ n: { $gt: NaN } }, []],
    [{ n: { $lt: 1 } }, [6, 9, 10]],
    [{ n: 0 }, [6]],
    [{ n: Long.fromString("9007199254740993") }, [7]],
    [{ n: { $gt: new Double(9007199254740992) } }, [7, 12]],
    [{ n: { $lt: Long.fromString("9007199254740993"), $gt: 2 } }, [8]],
    [{ n: Decimal128.fromString("0.1") }, [9]],
    [{ n: 0.1 }, [10]],
    [{ n: { $type: "number" } }, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]],
    [{ n: { $type: ["int", 18] } }, [0, 2, 7]],
    [{ n: { $mod: [2, 1] } }, [0, 1, 2, 3, 7]],
    [{ n: { $mod: [Long.fromString("9007199254740993"), 0] } }, [6, 7, 9, 10]],
    [{ n: { $in: [1, NaN] } }, [0, 1, 2, 3, 4, 5]],
    [{ n: { $bitsAllSet: [0] } }, [0, 1, 2, 3, 7]],
    [{ n: { $bitsAllClear: 1 } }, [6, 8]],
  ]);
});

Deno.test("types are ordered, and ranges stay within one", async () => {
  const values = [
    new MinKey(),
    null,
    1,
    "a",
    { a: 1 },
    [[0]],
    true,
    new Date(0),
    new Timestamp({ t: 1, i: 1 }),
    new BSONRegExp("a"),
    new MaxKey(),
  ];
  await table(values.map((v) => ({ v })), [
    [{ v: { $gt: 0 } }, [2]],
    [{ v: { $gte: "" } }, [3]],
    [{ v: { $gte: {} } }, [4]],
    [{ v: { $gte: [] } }, [5]],
    [{ v: { $gte: false } }, [6]],
    [{ v: { $gte: new Date(-1) } }, [7]],
    [{ v: { $gte: null } }, [1]],
    [{ v: { $eq: new BSONRegExp("a") } }, [9]],
    [{ v: /a/ }, [3, 9]],
    [{ v: { $in: [/^a/, 1] } }, [2, 3]],
    [{ v: { $type: "regex" } }, [9]],
  ]);
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany(values.map((v, _id) => ({ _id, v })));
  const order = (await c.find().sort({ v: 1 }).toArray()).map(({ _id }) => _id);
  // An array sorts by its least element, itself an array here.
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

Deno.test("arrays: $all, $elemMatch, $size and negation", async () => {
  await table([
    { a: [1, 2, 3] },
    { a: [[1, 2], 3] },
    { a: [{ x: 1, y: 2 }, { x: 3, y: 4 }] },
    { a: 1 },
    { a: [5, 25] },
    { a: [] },
    {},
  ], [
    [{ a: { $all: [1, 2] } }, [0]],
    [{ a: { $all: [[1, 2]] } }, [1]],
    [{ a: { $all: [1] } }, [0, 3]],
    [{ a: { $all: [] } }, []],
    [{ a: { $all: [{ $elemMatch: { x: 1 } }, { $elemMatch: { y: 4 } }] } }, [2]],
    [{ a: { $elemMatch: { x: 1, y: 4 } } }, []],
    [{ a: { $elemMatch: { x: { $gt: 1 }, y: 4 } } }, [2]],
    [{ "a.x": 1, "a.y": 4 }, [2]],
    [{ a: { $elemMatch: { $gt: 5, $lt: 25 } } }, []],
    [{ a: { $gt: 5, $lt: 25 } }, [4]],
    [{ a: { $elemMatch: { $not: { $gt: 5 } } } }, [0, 1, 2, 4]],
    [{ a: { $not: { $gt: 5 } } }, [0, 1, 2, 3, 5, 6]],
    [{ a: { $elemMatch: { $elemMatch: { $eq: 2 } } } }, [1]],
    [{ a: { $elemMatch: { $or: [{ x: 3 }, { x: 9 }] } } }, [2]],
    [{ a: { $size: 2 } }, [1, 2, 4]],
    [{ a: { $size: 0 } }, [5]],
    [{ a: { $type: "array" } }, [0, 1, 2, 4, 5]],
    [{ a: { $type: "object" } }, [2]],
    [{ a: { $ne: 1 } }, [1, 2, 4, 5, 6]],
    [{
      $expr: { $gt: [{ $size: { $ifNull: [{ $cond: [{ $isArray: "$a" }, "$a", []] }, []] } }, 2] },
    }, [
      0,
    ]],
  ]);
});

Deno.test("$jsonSchema matches by type, bound, pattern and shape", async () => {
  const schema = (properties: Any, more = {}) => ({ $jsonSchema: { properties, ...more } });
  await table([
    { n: 5, s: "abc", l: [1, 2] },
    { n: 5.5, s: "é", l: [1, 1] },
    { n: "5", o: { x: 1 } },
    {},
  ], [
    [schema({ n: { bsonType: "int" } }), [0, 3]],
    [schema({ n: { type: "number", minimum: 5, exclusiveMinimum: true } }), [1, 3]],
    [schema({ n: { multipleOf: 0.5 } }), [0, 1, 2, 3]],
    [schema({}, { required: ["n", "s"] }), [0, 1]],
    [schema({ s: { maxLength: 1 } }, { required: ["s"] }), [1]],
    [schema({ s: { pattern: "^a" } }, { required: ["s"] }), [0]],
    [schema({ l: { uniqueItems: true } }, { required: ["l"] }), [0]],
    [schema({ l: { items: { maximum: 1 } } }, { required: ["l"] }), [1]],
    [schema({ _id: {}, n: {}, o: {} }, { additionalProperties: false }), [2, 3]],
    [schema({ o: { required: ["x"], properties: { x: { enum: [1, 2] } } } }, { required: ["o"] }), [
      2,
    ]],
    [{ $jsonSchema: { not: { required: ["n"] } } }, [3]],
    [{ $jsonSchema: { oneOf: [{ required: ["l"] }, { required: ["o"] }] } }, [0, 1, 2]],
    [{ $jsonSchema: { dependencies: { n: ["s"] } } }, [0, 1, 3]],
    [{ $jsonSchema: { minProperties: 3 } }, [0, 1, 2]],
  ]);
});

Deno.test("queries that cannot be are refused with the server's codes", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ a: 1 });
  for (
    const [filter, expected] of [
      [{ a: { $in: 1 } }, 2],
      [{ a: { $nope: 1 } }, 2],
      [{ $nope: 1 }, 2],
      [{ $and: [] }, 2],
      [{ $or: {} }, 2],
      [{ a: { $mod: [0, 1] } }, 2],
      [{ a: { $mod: [1] } }, 2],
      [{ a: { $mod: [1, 2, 3] } }, 2],
      [{ a: { $mod: ["x", 1] } }, 2],
      [{ a: { $mod: [2, "x"] } }, 2],
      [{ a: { $size: -1 } }, 2],
      [{ a: { $size: 1.5 } }, 2],
      [{ a: { $size: "x" } }, 2],
      [{ a: { $not: 1 } }, 2],
      [{ a: { $not: {} } }, 2],
      [{ a: { $type: "nope" } }, 2],
      [{ a: { $type: 99 } }, 2],
      [{ a: { $all: 1 } }, 2],
      [{ a: { $elemMatch: 1 } }, 2],
      [{ a: { $options: "i" } }, 2],
      [{ a: { $ne: /x/ } }, 2],
      [{ a: { $bitsAllSet: "x" } }, 2],
      [{ $jsonSchema: { nope: 1 } }, 9],
      [{ $jsonSchema: { type: "integer" } }, 9],
      [{ $jsonSchema: { required: [] } }, 9],
      [{ $jsonSchema: { required: 1 } }, 14],
    ] as [Any, number][]
  ) assert.equal(await errorCode(c.find(filter).toArray()), expected, JSON.stringify(filter));
});
