/** Aggregation as a driver observes it; also for a MongoDB, by `MONGO_URL`. @module */
import assert from "node:assert/strict";
import { Decimal128, Double, Int32, Long, type MongoServerError } from "mongodb";
import { setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // results have the shape that each pipeline gives them

const sales = [
  {
    _id: 1,
    item: "abc",
    price: 10,
    quantity: 2,
    date: new Date("2014-03-01T08:00:00Z"),
    tags: ["a", "b"],
  },
  {
    _id: 2,
    item: "jkl",
    price: 20,
    quantity: 1,
    date: new Date("2014-03-01T09:00:00Z"),
    tags: ["b"],
  },
  { _id: 3, item: "xyz", price: 5, quantity: 10, date: new Date("2014-03-15T09:00:00Z"), tags: [] },
  { _id: 4, item: "xyz", price: 5, quantity: 20, date: new Date("2014-04-04T11:21:39Z") },
  {
    _id: 5,
    item: "abc",
    price: 10,
    quantity: 10,
    date: new Date("2014-04-04T21:23:13Z"),
    tags: ["a"],
  },
];

Deno.test("aggregate(): the stages give what the manual shows", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("sales");
  await c.insertMany(sales);
  const run = (...stages: Any[]) => c.aggregate(stages).toArray();
  assert.deepEqual(
    await run(
      {
        $group: {
          _id: "$item",
          total: { $sum: { $multiply: ["$price", "$quantity"] } },
          n: { $sum: 1 },
        },
      },
      { $match: { total: { $gte: 100 } } },
      { $sort: { total: -1, _id: 1 } },
    ),
    [{ _id: "xyz", total: 150, n: 2 }, { _id: "abc", total: 120, n: 2 }],
  );
  assert.deepEqual(
    await run({
      $group: {
        _id: null,
        avg: { $avg: "$quantity" },
        min: { $min: "$price" },
        max: { $max: "$price" },
      },
    }),
    [{ _id: null, avg: 8.6, min: 5, max: 20 }],
  );
  assert.deepEqual(await run({ $match: { item: "abc" } }, { $count: "n" }), [{ n: 2 }]);
  assert.deepEqual(
    await run({ $sort: { _id: -1 } }, { $skip: 1 }, { $limit: 2 }, { $project: { item: 1 } }),
    [
      { _id: 4, item: "xyz" },
      { _id: 3, item: "xyz" },
    ],
  );
  assert.deepEqual(
    await run({ $unwind: "$tags" }, { $sortByCount: "$tags" }, { $sort: { count: -1, _id: 1 } }),
    [
      { _id: "a", count: 2 },
      { _id: "b", count: 2 },
    ],
  );
  assert.deepEqual(
    await run({ $match: { _id: 1 } }, { $addFields: { "x.y": { $add: ["$price", 1] } } }, {
      $unset: ["date", "tags"],
    }),
    [{ _id: 1, item: "abc", price: 10, quantity: 2, x: { y: 11 } }],
  );
  assert.deepEqual(
    await run({
      $facet: {
        few: [{ $match: { quantity: { $lt: 5 } } }, { $count: "n" }],
        all: [{ $count: "n" }],
      },
    }),
    [{ few: [{ n: 2 }], all: [{ n: 5 }] }],
  );
  assert.deepEqual(
    await run(
      {
        $group: {
          _id: { $dateToString: { format: "%Y-%m", date: "$date" } },
          items: { $addToSet: "$item" },
        },
      },
      { $project: { items: { $size: "$items" } } },
      { $sort: { _id: 1 } },
    ),
    [{ _id: "2014-03", items: 3 }, { _id: "2014-04", items: 2 }],
  );
  assert.deepEqual(await run({ $bucket: { groupBy: "$price", boundaries: [0, 10, 30] } }), [
    { _id: 0, count: 2 },
    { _id: 10, count: 3 },
  ]);
  assert.deepEqual(
    await run({ $match: { _id: 1 } }, {
      $replaceRoot: { newRoot: { a: "$item", b: { $literal: "$x" } } },
    }),
    [{ a: "abc", b: "$x" }],
  );
  const ranked = await run(
    {
      $setWindowFields: {
        sortBy: { quantity: -1, _id: 1 },
        output: { r: { $documentNumber: {} } },
      },
    },
    { $match: { r: { $lte: 2 } } },
    { $sort: { r: 1 } },
    { $project: { r: 1 } },
  );
  assert.deepEqual(ranked, [{ _id: 4, r: 1 }, { _id: 3, r: 2 }]);
  const [shaped] = await run({ $match: { _id: 1 } }, {
    $project: { z: { $add: ["$price", 1] }, quantity: 1, a: { deep: "$item" }, item: 1 },
  });
  assert.deepEqual(shaped, { _id: 1, item: "abc", quantity: 2, z: 11, a: { deep: "abc" } });
  assert.deepEqual(Object.keys(shaped), ["_id", "item", "quantity", "z", "a"]);
  assert.deepEqual(
    await run({ $match: { _id: 4 } }, { $group: { _id: 1, t: { $push: "$tags" } } }),
    [
      { _id: 1, t: [] },
    ],
  );
  assert.deepEqual((await c.aggregate([], { batchSize: 2 }).toArray()).map(({ _id }) => _id), [
    1,
    2,
    3,
    4,
    5,
  ]);
});

Deno.test("aggregate(): $lookup joins by field and by pipeline", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  await db.collection<Any>("orders").insertMany([
    { _id: 1, item: "a", n: 2 },
    { _id: 2, item: ["a", "b"], n: 1 },
    { _id: 3 },
  ]);
  await db.collection<Any>("stock").insertMany([
    { _id: 1, sku: "a", left: 5 },
    { _id: 2, sku: "b", left: 1 },
    { _id: 3, sku: null, left: 0 },
  ]);
  const joined = await db.collection("orders").aggregate([
    { $lookup: { from: "stock", localField: "item", foreignField: "sku", as: "s" } },
    { $sort: { _id: 1 } },
    { $project: { s: "$s._id" } },
  ]).toArray();
  assert.deepEqual(joined.map(({ s }) => s), [[1], [1, 2], [3]]);
  const piped = await db.collection("orders").aggregate([
    { $match: { _id: { $lt: 3 } } },
    {
      $lookup: {
        from: "stock",
        let: { want: "$n" },
        pipeline: [{ $match: { $expr: { $gt: ["$left", "$$want"] } } }, {
          $project: { _id: 0, sku: 1 },
        }],
        as: "s",
      },
    },
    { $sort: { _id: 1 } },
  ]).toArray();
  assert.deepEqual(piped.map(({ s }) => s), [[{ sku: "a" }], [{ sku: "a" }]]);
});

Deno.test("aggregate(): $out replaces a collection, $merge adds to one", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const c = db.collection<Any>("c");
  await c.insertMany([{ _id: 1, g: "a", n: 1 }, { _id: 2, g: "b", n: 2 }, {
    _id: 3,
    g: "a",
    n: 3,
  }]);
  await db.collection<Any>("out").insertOne({ _id: "old" });
  const group = { $group: { _id: "$g", n: { $sum: "$n" } } };
  await c.aggregate([group, { $out: "out" }]).toArray();
  const all = (name: string) => db.collection<Any>(name).find().sort({ _id: 1 }).toArray();
  assert.deepEqual(await all("out"), [{ _id: "a", n: 4 }, { _id: "b", n: 2 }]);
  await db.collection<Any>("into").insertMany([{ _id: "a", keep: 1 }, { _id: "z" }]);
  await c.aggregate([group, { $merge: { into: "into" } }]).toArray();
  assert.deepEqual(await all("into"), [{ _id: "a", keep: 1, n: 4 }, { _id: "b", n: 2 }, {
    _id: "z",
  }]);
  const fails = c.aggregate([group, { $merge: { into: "into", whenMatched: "fail" } }]).toArray();
  await assert.rejects(fails, { code: 11000 });
});

Deno.test("aggregate(): arithmetic keeps and promotes number types", async () => {
  await using it = await setup({ promoteValues: false });
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({
    _id: 1,
    i: new Int32(7),
    l: Long.fromNumber(2),
    d: new Double(3),
    m: Decimal128.fromString("0.1"),
    max: new Int32(2147483647),
  });
  const [result] = await c.aggregate([{
    $project: {
      _id: 0,
      ii: { $add: ["$i", "$i"] },
      il: { $add: ["$i", "$l"] },
      id: { $add: ["$i", "$d"] },
      im: { $add: ["$i", "$m"] },
      over: { $add: ["$max", "$i"] },
      div: { $divide: ["$i", new Int32(7)] },
      mod: { $mod: ["$i", new Int32(4)] },
      floor: { $floor: "$d" },
      same: { $eq: ["$d", new Int32(3)] },
      type: { $type: "$l" },
      str: { $toString: "$i" },
      int: { $toInt: "12" },
    },
  }]).toArray();
  assert.deepEqual(result, {
    ii: new Int32(14),
    il: Long.fromNumber(9),
    id: new Double(10),
    im: Decimal128.fromString("7.1"),
    over: Long.fromString("2147483654"),
    div: new Double(1),
    mod: new Int32(3),
    floor: new Double(3),
    same: true,
    type: "long",
    str: "7",
    int: new Int32(12),
  });
});

Deno.test("aggregate(): what is wrong is refused with the server's codes", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ a: "x" });
  const errorCode = async (...stages: Any[]) => {
    try {
      await c.aggregate(stages).toArray();
    } catch (error) {
      return (error as MongoServerError).code;
    }
    return 0;
  };
  assert.equal(await errorCode({ $nope: 1 }), 40324);
  assert.equal(await errorCode({ $match: {}, $sort: { a: 1 } }), 40323);
  assert.equal(await errorCode({ $out: "x" }, { $match: {} }), 40601);
  assert.equal(await errorCode({ $project: { a: { $nope: 1 } } }), 31325);
  assert.equal(await errorCode({ $group: { n: { $sum: 1 } } }), 15955);
  assert.equal(await errorCode({ $limit: 0 }), 15958);
  assert.equal(await errorCode({ $sort: {} }), 15976);
});

Deno.test("$limit reads no further, and $count of nothing is nothing", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany(Array.from({ length: 50 }, (_, _id) => ({ _id, n: _id < 10 ? 1 : "x" })));
  // The tenth document cannot be divided.
  const halves = [{ $project: { half: { $divide: ["$n", 2] } } }, { $limit: 10 }];
  assert.equal((await c.aggregate(halves).toArray()).length, 10);
  assert.deepEqual(await c.aggregate([{ $limit: 7 }, { $count: "n" }]).toArray(), [{ n: 7 }]);
  assert.deepEqual(await c.aggregate([{ $match: { n: 2 } }, { $count: "n" }]).toArray(), []);
});
