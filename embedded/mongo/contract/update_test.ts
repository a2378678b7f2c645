/** Updates, upserts and findAndModify as a driver observes them; the same on this store and, with `MONGO_URL` set, on a MongoDB. @module */
import assert from "node:assert/strict";
// The driver's own classes: its copy of `bson` is another one than ours.
import { type Document, Double, Int32, Long } from "mongodb";
import { errorCode, setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

Deno.test("update operators change documents as the manual says", async () => {
  await using it = await setup({ promoteValues: false });
  const c = it.client.db(it.name).collection<Any>("c");
  const start = {
    i: new Int32(1),
    d: new Double(1.5),
    l: Long.fromNumber(5),
    list: [new Int32(3), new Int32(1)],
    o: { x: new Int32(1) },
    gone: "x",
  };
  await c.insertOne({ _id: "a", ...start });
  const result = await c.updateOne({ _id: "a" }, {
    $inc: { i: new Int32(2), d: new Int32(1), new: Long.fromNumber(1) },
    $mul: { l: new Int32(3) },
    $set: { "o.y": "set", "deep.er": true },
    $unset: { gone: "" },
    $push: { list: { $each: [new Int32(2)], $sort: 1, $slice: 2 } } as Any,
    $min: { low: new Int32(4) },
    $rename: { "o.x": "renamed" },
    $setOnInsert: { never: 1 },
  });
  assert.deepEqual([result.matchedCount, result.modifiedCount].map(Number), [1, 1]);
  assert.deepEqual(await c.findOne({ _id: "a" }), {
    _id: "a",
    i: new Int32(3),
    d: new Double(2.5),
    l: Long.fromNumber(15),
    list: [new Int32(1), new Int32(2)],
    o: { y: "set" },
    deep: { er: true },
    low: new Int32(4),
    new: Long.fromNumber(1),
    renamed: new Int32(1),
  });
  const again = await c.updateOne({ _id: "a" }, { $set: { low: new Int32(4) } });
  assert.deepEqual([again.matchedCount, again.modifiedCount].map(Number), [1, 0]);
  await c.updateOne({ _id: "a" }, { $inc: { i: new Int32(2147483647) } });
  assert.deepEqual((await c.findOne({ _id: "a" }))!.i, Long.fromNumber(2147483650));
});

Deno.test("array updates: positional, all, filtered, addToSet, pull, pop", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ _id: 1, g: [80, 95, 70], o: [{ n: 1, v: 1 }, { n: 2, v: 2 }] });
  const after = async (filter: Document, update: Document, options = {}) => {
    await c.updateOne(filter, update, options);
    const { _id, ...rest } = (await c.findOne({ _id: 1 }))!;
    return rest;
  };
  assert.deepEqual((await after({ g: 95 }, { $set: { "g.$": 96 } })).g, [80, 96, 70]);
  assert.deepEqual((await after({ "o.n": 2 }, { $inc: { "o.$.v": 10 } })).o[1], { n: 2, v: 12 });
  assert.deepEqual((await after({}, { $inc: { "g.$[]": 1 } })).g, [81, 97, 71]);
  const arrayFilters = [{ "e.n": 1 }];
  assert.deepEqual((await after({}, { $set: { "o.$[e].v": 0 } }, { arrayFilters })).o[0], {
    n: 1,
    v: 0,
  });
  assert.deepEqual((await after({}, { $addToSet: { g: { $each: [81, 5] } } })).g, [81, 97, 71, 5]);
  assert.deepEqual((await after({}, { $pull: { g: { $gt: 80 } } })).g, [71, 5]);
  assert.deepEqual((await after({}, { $pull: { o: { n: 1 } } })).o, [{ n: 2, v: 12 }]);
  assert.deepEqual((await after({}, { $pop: { g: -1 } })).g, [5]);
  assert.deepEqual((await after({}, { $set: { "g.3": 9 } })).g, [5, null, null, 9]);
  assert.deepEqual((await after({}, [{ $set: { sum: { $sum: "$g" } } }])).sum, 14);
});

Deno.test("updates that cannot be are refused with the server's codes, and change nothing", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const doc = { _id: 1, s: "x", list: [1], o: { a: 1 } };
  await c.insertOne(doc);
  const refused = (update: Document, options = {}) =>
    errorCode(c.updateOne({ _id: 1 }, update, options));
  assert.equal(await refused({ $inc: { s: 1 } }), 14);
  assert.equal(await refused({ $inc: { n: "1" } }), 14);
  assert.equal(await refused({ $push: { s: 1 } }), 2);
  assert.equal(await refused({ $pop: { s: 1 } }), 14);
  assert.equal(await refused({ $set: { _id: 2 } }), 66);
  assert.equal(await refused({ $set: { "s.t": 1 } }), 28);
  assert.equal(await refused({ $set: { a: 1 }, $inc: { a: 1 } }), 40);
  assert.equal(await refused({ $set: { o: 1, "o.a": 2 } }), 40);
  assert.equal(await refused({ $nope: { a: 1 } }), 9);
  assert.equal(await refused({ $set: { "list.$": 1 } }), 2);
  assert.equal(await refused({ $set: { "list.$[e]": 1 } }), 2);
  assert.equal(await refused({ $set: { q: 1 } }, { arrayFilters: [{ e: 1 }] }), 9);
  assert.equal(await errorCode(c.replaceOne({ _id: 1 }, { _id: 2 })), 66);
  assert.deepEqual(await c.find().toArray(), [doc]);
});

Deno.test("upserts take their fields from the filter and report the new _id", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const one = await c.updateOne({ k: 1, "o.p": { $eq: 2 }, n: { $gt: 5 } }, {
    $set: { a: 1 },
    $setOnInsert: { b: 2 },
  }, { upsert: true });
  assert.equal(one.upsertedCount, 1);
  const { _id, ...rest } = (await c.findOne())!;
  assert.deepEqual(_id, one.upsertedId);
  assert.deepEqual(rest, { k: 1, o: { p: 2 }, a: 1, b: 2 });
  const two = await c.replaceOne({ _id: 7 }, { x: 1 }, { upsert: true });
  assert.equal(two.upsertedId, 7);
  assert.deepEqual(await c.findOne({ _id: 7 }), { _id: 7, x: 1 });
});

Deno.test("findAndModify: old, new, upsert, remove, sort and fields", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany([{ _id: 1, n: 5 }, { _id: 2, n: 3 }, { _id: 3, n: 4 }]);
  assert.deepEqual(await c.findOneAndUpdate({}, { $inc: { n: 10 } }, { sort: { n: 1 } }), {
    _id: 2,
    n: 3,
  });
  assert.deepEqual(
    await c.findOneAndUpdate({ _id: 2 }, { $inc: { n: 1 } }, {
      returnDocument: "after",
      projection: { _id: 0 },
    }),
    { n: 14 },
  );
  assert.equal(await c.findOneAndUpdate({ _id: 99 }, { $set: { a: 1 } }), null);
  const raw = await c.findOneAndUpdate({ _id: 9 }, { $set: { a: 1 } }, {
    upsert: true,
    returnDocument: "after",
    includeResultMetadata: true,
  });
  assert.deepEqual(raw.value, { _id: 9, a: 1 });
  assert.deepEqual(raw.lastErrorObject, { n: 1, updatedExisting: false, upserted: 9 });
  assert.deepEqual(await c.findOneAndReplace({ _id: 9 }, { z: 1 }, { returnDocument: "after" }), {
    _id: 9,
    z: 1,
  });
  assert.deepEqual(await c.findOneAndDelete({ _id: 9 }), { _id: 9, z: 1 });
  assert.equal(await c.findOneAndDelete({ _id: 9 }), null);
});

Deno.test("findAndModify gives each document to one of many claimers", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.createIndex({ state: 1, _id: 1 });
  await c.insertMany(Array.from({ length: 60 }, (_, i) => ({ _id: i, state: "new" })));
  const claimer = async () => {
    const mine: unknown[] = [];
    for (;;) {
      const doc = await c.findOneAndUpdate({ state: "new" }, { $set: { state: "taken" } }, {
        sort: { _id: 1 },
      });
      if (!doc) return mine;
      mine.push(doc._id);
    }
  };
  const claimed = (await Promise.all([claimer(), claimer(), claimer()])).flat();
  assert.equal(claimed.length, 60);
  assert.equal(new Set(claimed).size, 60);
});

Deno.test("update operators: types, gaps, modifiers and edges", async () => {
  await using it = await setup({ promoteValues: false });
  const c = it.client.db(it.name).collection<Any>("c");
  const plain = { promoteValues: true, promoteLongs: false };
  for (
    const [before, update, after, options] of [
      [{ n: new Int32(2147483647) }, { $inc: { n: new Int32(1) } }, {
        n: Long.fromNumber(2147483648),
      }],
      [{ n: new Int32(2) }, { $mul: { n: new Double(1.5) } }, { n: new Double(3) }],
      [{}, { $mul: { n: Long.fromNumber(7) } }, { n: Long.fromNumber(0) }],
      [{ n: new Int32(5) }, { $min: { n: "a" } }, { n: new Int32(5) }],
      [{ n: new Int32(5) }, { $max: { n: "a" } }, { n: "a" }],
      [{ n: null }, { $min: { n: new Int32(0) } }, { n: null }],
      [{}, { $min: { n: new Int32(3) } }, { n: new Int32(3) }],
      [{ n: new Int32(13) }, { $bit: { n: { and: new Int32(10) } } }, { n: new Int32(8) }],
      [{ a: ["x"] }, { $set: { "a.3": "y" } }, { a: ["x", null, null, "y"] }],
      [{ a: ["x", "y"] }, { $unset: { "a.0": "" } }, { a: [null, "y"] }],
      [{ a: "x" }, { $rename: { a: "b.c" } }, { b: { c: "x" } }],
      [{ a: "x", b: "y" }, { $rename: { a: "b" } }, { b: "x" }],
      [{ a: ["b", "c"] }, { $push: { a: { $each: ["a"], $position: new Int32(-1) } } }, {
        a: ["b", "a", "c"],
      }],
      [{ a: ["c", "a"] }, {
        $push: { a: { $each: ["b"], $sort: new Int32(-1), $slice: new Int32(2) } },
      }, { a: ["c", "b"] }],
      [
        { a: [{ x: "b" }, { x: "a" }] },
        { $push: { a: { $each: [], $sort: { x: new Int32(1) } } } },
        {
          a: [{ x: "a" }, { x: "b" }],
        },
      ],
      [{ a: ["x", "y", "xy"] }, { $pull: { a: /^x/ } }, { a: ["y"] }],
      [{ a: ["x", ["x"], null] }, { $pull: { a: { $in: ["x", null] } } }, { a: [] }],
      [{ a: [{ x: "1", y: "2" }, { x: "1" }] }, { $pull: { a: { x: "1", y: "2" } } }, {
        a: [{ x: "1" }],
      }],
      [{ a: [{ b: ["x", "y"] }, { b: ["x"] }] }, { $pull: { "a.$[].b": "x" } }, {
        a: [{ b: ["y"] }, { b: [] }],
      }],
      [{ a: [{ b: "x" }, { b: "y" }] }, { $set: { "a.$[e].b": "z" } }, {
        a: [{ b: "x" }, { b: "z" }],
      }, {
        arrayFilters: [{ "e.b": "y" }],
      }],
      [{ a: ["x", "x"] }, { $addToSet: { a: { $each: ["x", "y", "y"] } } }, { a: ["x", "x", "y"] }],
      [{ b: "x" }, [{ $set: { c: { $concat: ["$b", "y"] } } }, { $unset: "b" }], { c: "xy" }],
      [{ b: "x" }, { $set: { z: "1", "y.b": "2", "y.a": "3" } }, {
        b: "x",
        y: { a: "3", b: "2" },
        z: "1",
      }],
      [{ b: "x" }, { $setOnInsert: { c: "y" } }, { b: "x" }],
      [{ b: "x" }, { $set: {} }, { b: "x" }],
    ] as [Any, Any, Any, Any?][]
  ) {
    await c.deleteMany({});
    await c.insertOne({ _id: "k", ...before });
    await c.updateOne({ _id: "k" }, update, options);
    const found = await c.findOne({ _id: "k" });
    assert.deepEqual(found, { _id: "k", ...after }, JSON.stringify(update));
    assert.deepEqual(Object.keys(found), ["_id", ...Object.keys(after)], JSON.stringify(update));
  }
  // `$` is the element that the query matched first.
  await c.insertOne({ _id: "p", g: [{ x: 1, s: "a" }, { x: 2, s: "b" }] });
  await c.updateOne({ _id: "p", "g.x": 2 }, { $set: { "g.$.s": "c" } });
  assert.deepEqual((await c.findOne({ _id: "p" }, plain)).g.map(({ s }: Any) => s), ["a", "c"]);
});

Deno.test("updates that conflict or cannot be have the server's codes", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ _id: 1, s: "x", n: null, a: [1], o: { p: 1 }, big: Long.MAX_VALUE });
  for (
    const [update, expected, options] of [
      [{ $inc: { n: 1 } }, 14],
      [{ $mul: { s: 2 } }, 14],
      [{ $inc: { big: 1 } }, 2],
      [{ $bit: { s: { or: 1 } } }, 2],
      [{ $bit: { n: { nor: 1 } } }, 2],
      [{ $addToSet: { s: 1 } }, 2],
      [{ $pull: { s: 1 } }, 2],
      [{ $pullAll: { a: 1 } }, 2],
      [{ $pop: { a: 2 } }, 9],
      [{ $push: { a: { $each: 1 } } }, 2],
      [{ $push: { a: { $each: [], $slice: "x" } } }, 2],
      [{ $push: { a: { $each: [], $nope: 1 } } }, 2],
      [{ $rename: { s: "s" } }, 2],
      [{ $rename: { s: 1 } }, 2],
      [{ $rename: { s: "o", o: "q" } }, 40],
      [{ $set: { "o.p": 1, o: 2 } }, 40],
      [{ $set: { "": 1 } }, 56],
      [{ $set: { "o..p": 1 } }, 56],
      [{ $set: { _id: 2 } }, 66],
      [{ $unset: { _id: "" } }, 66],
      [{ $set: { "a.x": 1 } }, 28],
      [{ $set: { "s.x": 1 } }, 28],
      [{ $currentDate: { d: "x" } }, 2],
      [{ $set: { "a.$[e]": 1 } }, 9, { arrayFilters: [{ f: 1 }, { f: 2 }] }],
      [{ $set: { a: 1 } }, 9, { arrayFilters: [{ e: 1 }] }],
      [[{ $set: { _id: 2 } }], 66],
      [[{ $group: { _id: 1 } }], 72],
      [[{ $nope: 1 }], 40324],
    ] as [Any, number, Any?][]
  ) {
    assert.equal(
      await errorCode(c.updateOne({ _id: 1 }, update, options)),
      expected,
      JSON.stringify(update),
    );
  }
  assert.equal((await c.findOne({ _id: 1 })).s, "x");
});
