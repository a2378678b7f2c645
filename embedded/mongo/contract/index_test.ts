/** Indexes, collections and databases as a driver observes them; also for a MongoDB, by `MONGO_URL`. @module */
import assert from "node:assert/strict";
import { Double, Long, MongoServerError } from "mongodb";
import { setup, until } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

async function failure(work: Promise<unknown>): Promise<MongoServerError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MongoServerError) return error;
    throw error;
  }
  throw new Error("It did not fail");
}

Deno.test("a unique index refuses a second document of the same key, by insert and by update", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  assert.equal(await c.createIndex({ a: 1 }, { unique: true }), "a_1");
  await c.insertMany([{ _id: 1, a: 1 }, { _id: 2, a: "x" }]);
  const error = await failure(c.insertOne({ _id: 3, a: new Double(1) }));
  assert.equal(error.code, 11000);
  assert.deepEqual(error.keyPattern, { a: 1 });
  assert.deepEqual(error.keyValue, { a: 1 });
  assert.match(
    error.message,
    new RegExp(
      `^E11000 duplicate key error collection: ${it.name}\\.c index: a_1 dup key: \\{ a: 1`,
    ),
  );
  assert.equal((await failure(c.updateOne({ _id: 2 }, { $set: { a: 1 } }))).code, 11000);
  assert.equal((await failure(c.findOneAndUpdate({ _id: 2 }, { $set: { a: 1 } }))).code, 11000);
  assert.deepEqual(await c.findOne({ _id: 2 }), { _id: 2, a: "x" });
  // A missing field counts as null, once.
  await c.insertOne({ _id: 4 });
  assert.equal((await failure(c.insertOne({ _id: 5 }))).code, 11000);
  // The key is free again once its document is gone.
  await c.deleteOne({ _id: 1 });
  await c.insertOne({ _id: 6, a: 1 });
});

Deno.test("compound, sparse, partial and array keys of unique indexes", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const [compound, sparse, partial, multi] = ["compound", "sparse", "partial", "multi"]
    .map((name) => db.collection<Any>(name)) as [Any, Any, Any, Any];
  await compound.createIndex({ a: 1, b: -1 }, { unique: true });
  await compound.insertMany([{ a: 1, b: 1 }, { a: 1, b: 2 }, { a: 2, b: 1 }]);
  const error = await failure(compound.insertOne({ a: 1, b: 2 }));
  assert.deepEqual(error.keyValue, { a: 1, b: 2 });
  await sparse.createIndex({ a: 1 }, { unique: true, sparse: true });
  await sparse.insertMany([{}, {}, { a: null }]);
  assert.equal((await failure(sparse.insertOne({ a: null }))).code, 11000);
  await partial.createIndex({ a: 1 }, {
    unique: true,
    partialFilterExpression: { live: true },
  });
  await partial.insertMany([{ a: 1 }, { a: 1 }, { _id: 1, a: 1, live: true }]);
  assert.equal((await failure(partial.insertOne({ a: 1, live: true }))).code, 11000);
  await partial.updateOne({ _id: 1 }, { $set: { live: false } });
  await partial.insertOne({ a: 1, live: true });
  await multi.createIndex({ tags: 1 }, { unique: true });
  await multi.insertOne({ tags: ["x", "x", "y"] });
  assert.equal((await failure(multi.insertOne({ tags: ["z", "y"] }))).code, 11000);
  await multi.createIndex({ p: 1, q: 1 });
  assert.equal((await failure(multi.insertOne({ tags: 1, p: [1], q: [2] }))).code, 171);
});

Deno.test("a unique index is not made over documents that conflict", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany([{ a: 1 }, { a: 1 }]);
  assert.equal((await failure(c.createIndex({ a: 1 }, { unique: true }))).code, 11000);
  assert.deepEqual((await c.indexes()).map((index) => index.name), ["_id_"]);
});

Deno.test("indexes are listed, found equal, refused in conflict and dropped", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.createIndexes([{ key: { a: 1 } }, { key: { b: -1, c: 1 }, name: "bc", sparse: true }]);
  assert.equal(await c.createIndex({ a: 1 }), "a_1");
  const listed = await c.indexes();
  assert.deepEqual(listed.map(({ name, key }) => [name, key]), [
    ["_id_", { _id: 1 }],
    ["a_1", { a: 1 }],
    ["bc", { b: -1, c: 1 }],
  ]);
  assert.equal(listed[2]!.sparse, true);
  assert.equal((await failure(c.createIndex({ a: 1 }, { name: "other" }))).code, 85);
  assert.equal((await failure(c.createIndex({ z: 1 }, { name: "bc" }))).code, 86);
  assert.equal((await failure(c.createIndex({ z: 0 as 1 }))).code, 67);
  assert.equal((await failure(c.dropIndex("nope"))).code, 27);
  assert.equal((await failure(c.dropIndex("_id_"))).code, 72);
  await c.dropIndex("a_1");
  assert.deepEqual((await c.indexes()).map(({ name }) => name), ["_id_", "bc"]);
  await c.dropIndexes();
  assert.deepEqual((await c.indexes()).map(({ name }) => name), ["_id_"]);
  assert.equal((await failure(it.client.db(it.name).collection("nope").indexes())).code, 26);
});

Deno.test("results are the same with and without indexes", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const plain = db.collection<Any>("plain");
  const indexed = db.collection<Any>("indexed");
  await indexed.createIndexes([{ key: { n: 1 } }, { key: { s: -1, n: 1 } }, { key: { "o.t": 1 } }]);
  const docs = Array.from({ length: 300 }, (_, i) => ({
    _id: i,
    n: [i % 17, new Double(i % 17), Long.fromNumber(i % 17), null, `${i % 5}`][i % 5],
    s: ["a", "b", "c"][i % 3],
    o: i % 4 ? [{ t: i % 7 }, { t: "x" }] : { t: i },
  }));
  await plain.insertMany(docs);
  await indexed.insertMany(docs);
  for (
    const [filter, sort] of [
      [{ n: 3 }, { _id: 1 }],
      [{ n: { $gt: 3, $lte: 9 } }, { _id: 1 }],
      [{ n: { $in: [1, "2", null] } }, { _id: -1 }],
      [{ s: "b", n: { $gte: 4 } }, { n: -1, _id: 1 }],
      [{ s: "b" }, { n: 1, _id: 1 }],
      [{}, { s: -1, n: 1, _id: 1 }],
      [{ "o.t": 5 }, { _id: 1 }],
      [{ "o.t": { $gt: 2, $lt: 4 } }, { _id: 1 }],
      [{ _id: { $gte: 290 } }, { _id: -1 }],
      [{ n: null }, { _id: 1 }],
    ] as [Any, Any][]
  ) {
    const [one, two] = await Promise.all(
      [plain, indexed].map((c) => c.find(filter).sort(sort).toArray()),
    );
    assert.ok(one!.length > 0, JSON.stringify(filter));
    assert.deepEqual(two, one, JSON.stringify(filter));
  }
});

Deno.test("a TTL index removes documents whose time has come, and no others", async () => {
  await using it = await setup({}, { sweepInterval: 20 });
  const c = it.client.db(it.name).collection<Any>("c");
  await c.createIndex({ at: 1 }, { expireAfterSeconds: 3600 });
  const ago = (seconds: number) => new Date(Date.now() - seconds * 1000);
  await c.insertMany([
    { _id: "old", at: ago(7200) },
    { _id: "array", at: [ago(10), ago(7200)] },
    { _id: "new", at: ago(60) },
    { _id: "future", at: ago(-7200) },
    { _id: "none" },
    { _id: "text", at: "2001-01-01" },
  ]);
  // More than one turn of the sweep takes.
  await c.insertMany(Array.from({ length: 2500 }, (_, i) => ({ _id: i, at: ago(4000) })));
  // A real server sweeps once a minute.
  await until("the sweep", async () => await c.countDocuments() === 4, 90_000);
  const left = (await c.find().sort({ _id: 1 }).toArray()).map((doc: Any) => doc._id);
  assert.deepEqual(left, ["future", "new", "none", "text"]);
  assert.equal(
    (await failure(c.createIndex({ x: 1, y: 1 }, { expireAfterSeconds: 1 }))).code,
    67,
  );
});

Deno.test("collections and databases are made, listed, renamed and dropped", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  await db.createCollection("made");
  await db.collection("written").insertOne({});
  const names = async () => (await db.listCollections().toArray()).map(({ name }) => name).sort();
  assert.deepEqual(await names(), ["made", "written"]);
  assert.equal((await db.listCollections({ name: "made" }).toArray()).length, 1);
  const databases = await it.client.db("admin").admin().listDatabases();
  assert.ok(databases.databases.some(({ name }) => name === it.name));
  await db.collection("written").rename("renamed");
  assert.equal(await db.collection("renamed").countDocuments(), 1);
  assert.equal((await failure(db.collection("made").rename("renamed"))).code, 48);
  await db.collection("renamed").drop();
  assert.deepEqual(await names(), ["made"]);
  assert.equal((await failure(db.collection("bad$name").insertOne({}))).code, 73);
  await db.dropDatabase();
  assert.deepEqual(await names(), []);
});

Deno.test("explain shows that indexed reads do not scan", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.createIndex({ n: 1 });
  await c.insertMany(Array.from({ length: 200 }, (_, i) => ({ _id: i, n: i, s: i })));
  const examined = async (filter: Any, sort: Any = {}, limit = 0) =>
    (await c.find(filter).sort(sort).limit(limit).explain("executionStats")).executionStats
      .totalDocsExamined;
  assert.equal(await examined({ s: 5 }), 200);
  assert.equal(await examined({ n: 5 }), 1);
  assert.equal(await examined({ _id: 5 }), 1);
  assert.equal(await examined({ n: { $gte: 10, $lt: 13 } }), 3);
  assert.ok(await examined({ $or: [{ n: 1 }, { _id: 7 }] }) <= 2);
  assert.equal(await examined({}, { n: -1 }, 4), 4);
});

Deno.test("maxTimeMS ends what takes longer", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany(Array.from({ length: 50_000 }, (_, i) => ({ _id: i, s: `text ${i}` })));
  const slow = c.find({ s: /nothing$/ }, { maxTimeMS: 1 }).toArray();
  assert.equal((await failure(slow)).code, 50);
  assert.equal(await c.countDocuments({ s: /99$/ }, { maxTimeMS: 60_000 }), 500);
});
