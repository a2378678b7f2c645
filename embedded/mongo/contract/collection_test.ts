/** Kinds of collections: capped, validated, views, clustered, with a collation; as drivers observe them. @module */
import assert from "node:assert/strict";
import { Timestamp } from "mongodb";
import { errorCode, setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

Deno.test("a capped collection keeps its newest documents, by number and by size", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const few = await db.createCollection<Any>("few", { capped: true, size: 100_000, max: 3 });
  await few.insertMany([1, 2, 3, 4, 5].map((_id) => ({ _id })));
  assert.deepEqual((await few.find().toArray()).map(({ _id }) => _id), [3, 4, 5]);
  const small = await db.createCollection<Any>("small", { capped: true, size: 4096 });
  const s = "x".repeat(1000);
  for (let _id = 1; _id <= 9; _id++) await small.insertOne({ _id, s });
  assert.deepEqual((await small.find().toArray()).map(({ _id }) => _id).at(-1), 9);
  assert.ok(await small.countDocuments() <= 4);
  assert.equal(await few.isCapped(), true);
  assert.equal(await errorCode(db.createCollection("x", { capped: true })), 72);
  assert.equal(await errorCode(db.createCollection("x", { size: 5 })), 72);
  assert.equal(await errorCode(db.createCollection("few", { capped: true, size: 5 })), 48);
});

Deno.test("a tailable cursor goes on when documents come, and ends when it is overtaken", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const c = await db.createCollection<Any>("c", { capped: true, size: 100_000, max: 3 });
  await c.insertOne({ _id: 1 });
  const cursor = c.find({}, { tailable: true, awaitData: true, maxAwaitTimeMS: 5000 });
  assert.equal((await cursor.next())._id, 1);
  const next = cursor.next(); // waits in the store
  await c.insertOne({ _id: 2 });
  assert.equal((await next)._id, 2);
  await c.insertMany([{ _id: 3 }, { _id: 4 }, { _id: 5 }, { _id: 6 }]);
  assert.equal(await errorCode(cursor.next()), 136);
  const plain = db.collection("plain");
  await plain.insertOne({});
  assert.equal(await errorCode(plain.find({}, { tailable: true }).next()), 2);
  assert.equal(await errorCode(db.command({ find: "c", awaitData: true })), 9);
});

Deno.test("a validator refuses documents, and says which clause they break", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const validator = { $jsonSchema: { required: ["n"], properties: { n: { bsonType: "int" } } } };
  const c = await db.createCollection<Any>("c", { validator });
  await c.insertOne({ _id: 1, n: 1 });
  await assert.rejects(c.insertOne({ _id: 2, n: "x" }), (error: Any) => {
    assert.equal(error.code, 121);
    assert.equal(error.errInfo.failingDocumentId, 2);
    assert.equal(error.errInfo.details.operatorName, "$jsonSchema");
    return true;
  });
  assert.equal(await errorCode(c.updateOne({ _id: 1 }, { $set: { n: "x" } })), 121);
  assert.equal(
    await errorCode(c.updateOne({ _id: 3 }, { $set: { n: "x" } }, { upsert: true })),
    121,
  );
  assert.equal(await errorCode(c.findOneAndReplace({ _id: 1 }, { n: "x" })), 121);
  await c.insertOne({ _id: 2 }, { bypassDocumentValidation: true });
  // Moderate: what was wrong before may be changed.
  assert.equal(await errorCode(c.updateOne({ _id: 2 }, { $set: { m: 1 } })), 121);
  await db.command({ collMod: "c", validationLevel: "moderate" });
  await c.updateOne({ _id: 2 }, { $set: { m: 1 } });
  await db.command({
    collMod: "c",
    validator: { m: { $type: "string" } },
    validationLevel: "strict",
  });
  await assert.rejects(c.insertOne({ m: 1 }), (error: Any) => {
    const { operatorName, reason, consideredValue } = error.errInfo.details;
    assert.deepEqual([operatorName, reason, consideredValue], ["$type", "type did not match", 1]);
    return true;
  });
  await db.command({ collMod: "c", validator: {} });
  await c.insertOne({ m: 1 });
});

Deno.test("a view shows its pipeline's results, and refuses writes", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  await db.collection<Any>("c").insertMany([1, 2, 3, 4].map((_id) => ({ _id, n: _id * 10 })));
  const big = await db.createCollection<Any>("big", {
    viewOn: "c",
    pipeline: [{ $match: { n: { $gt: 10 } } }, { $set: { seen: true } }],
  });
  const biggest = await db.createCollection<Any>("biggest", {
    viewOn: "big",
    pipeline: [{ $match: { n: { $gt: 20 } } }],
  });
  const rows = await biggest.find({}, { sort: { _id: -1 }, projection: { n: 1 } }).toArray();
  assert.deepEqual(rows, [{ _id: 4, n: 40 }, { _id: 3, n: 30 }]);
  assert.equal((await big.findOne({ _id: 2 })).seen, true);
  assert.equal(await big.countDocuments(), 3);
  assert.equal(await big.estimatedDocumentCount(), 3);
  assert.deepEqual(await biggest.distinct("n"), [30, 40]);
  assert.deepEqual(await big.aggregate([{ $count: "k" }]).toArray(), [{ k: 3 }]);
  const batches = big.find({}, { batchSize: 1 });
  assert.equal((await batches.toArray()).length, 3);
  assert.equal(await errorCode(big.insertOne({ _id: 9 })), 166);
  assert.equal(await errorCode(big.updateOne({}, { $set: { a: 1 } })), 166);
  assert.equal(await errorCode(big.deleteOne({})), 166);
  assert.equal(await errorCode(big.createIndex({ a: 1 })), 166);
  const listed = await db.listCollections({ name: "big" }).toArray();
  assert.equal(listed[0]!.type, "view");
  await big.drop();
  assert.deepEqual(await biggest.find().toArray(), []);
});

Deno.test("a clustered collection lies in the order of _id", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const c = await db.createCollection<Any>("c", {
    clusteredIndex: { key: { _id: 1 }, unique: true, name: "key" },
  });
  await c.insertMany([3, 1, 2].map((_id) => ({ _id })));
  assert.deepEqual((await c.find().toArray()).map(({ _id }) => _id), [1, 2, 3]);
  const [index] = await c.indexes();
  assert.deepEqual([index!.name, index!.clustered, index!.unique], ["key", true, true]);
});

Deno.test("a collation compares strings as a language does: filter, sort, group, distinct, update", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const c = db.collection<Any>("c");
  await c.insertMany(["a", "B", "b", "ä", "z", "10", "9"].map((s, _id) => ({ _id, s, n: 1 })));
  await c.createIndex({ s: 1 });
  const collation = { locale: "de", strength: 2 };
  const ids = async (filter: Any, options = {}) =>
    (await c.find(filter, { sort: { _id: 1 }, ...options }).toArray()).map(({ _id }) => _id);
  assert.deepEqual(await ids({ s: "b" }), [2]);
  assert.deepEqual(await ids({ s: "b" }, { collation }), [1, 2]);
  assert.deepEqual(await ids({ s: "a" }, { collation: { locale: "de", strength: 1 } }), [0, 3]);
  assert.deepEqual(await ids({ s: { $in: ["B", "Z"] } }, { collation }), [1, 2, 4]);
  assert.deepEqual(await ids({ s: { $gt: "ä" } }, { collation }), [1, 2, 4]);
  const sorted = { sort: { s: 1 } };
  assert.deepEqual(await ids({}, sorted), [5, 6, 1, 0, 2, 4, 3]);
  const numeric = { locale: "de", numericOrdering: true };
  assert.deepEqual(await ids({ s: { $in: ["9", "10", "z"] } }, { ...sorted, collation: numeric }), [
    6,
    5,
    4,
  ]);
  assert.equal((await c.distinct("s", {}, { collation })).length, 6);
  const groups = await c.aggregate([{ $group: { _id: "$s", n: { $sum: 1 } } }, {
    $match: { n: 2 },
  }], {
    collation,
  }).toArray();
  assert.equal(groups.length, 1);
  assert.equal(await c.countDocuments({ s: "b" }, { collation }), 2);
  assert.equal(
    (await c.updateMany({ s: "B" }, { $inc: { n: 1 } }, { collation })).modifiedCount,
    2,
  );
  assert.equal((await c.deleteMany({ s: "Z" }, { collation })).deletedCount, 1);
  assert.equal((await c.findOneAndDelete({ s: "B" }, { collation }))._id, 1);

  const own = await db.createCollection<Any>("own", { collation });
  await own.insertOne({ s: "Ab" });
  assert.equal(await own.countDocuments({ s: "aB" }), 1);
  assert.equal(await own.countDocuments({ s: "aB" }, { collation: { locale: "simple" } }), 0);
  await own.createIndex({ s: 1 });
  const index = (await own.indexes()).find(({ name }) => name === "s_1")!;
  assert.equal(index.collation!.strength, 2);
  assert.equal(await own.countDocuments({ s: "AB" }), 1);
  assert.equal(await errorCode(c.find({}, { collation: { locale: "nonesuch" } }).toArray()), 2);
  assert.equal(
    await errorCode(c.find({}, { collation: { locale: "de", strength: 9 as 1 } }).toArray()),
    2,
  );
  if (!it.embedded) return;
  const unique = own.createIndex({ u: 1 }, { unique: true });
  assert.equal(await errorCode(unique), 238); // the keys hold strings by their bytes
});

Deno.test("hint, min, max, returnKey and showRecordId read along an index", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany([1, 2, 3, 4].map((_id) => ({ _id, n: 10 - _id, m: _id })));
  await c.createIndex({ n: 1 });
  await c.createIndex({ h: "hashed" });
  assert.deepEqual((await c.find().hint({ n: 1 }).toArray()).map(({ n }) => n), [6, 7, 8, 9]);
  const between = c.find().hint({ n: 1 }).min({ n: 7 }).max({ n: 9 });
  assert.deepEqual((await between.toArray()).map(({ n }) => n), [7, 8]);
  assert.equal(await errorCode(c.find().min({ n: 7 }).toArray()), 51173);
  assert.equal(await errorCode(c.find().hint({ n: 1 }).min({ m: 7 }).toArray()), 51174);
  assert.equal(await errorCode(c.find().hint("none").toArray()), 2);
  assert.deepEqual(await c.find({ n: { $gt: 8 } }).returnKey(true).toArray(), [{ n: 9 }]);
  assert.ok("$recordId" in (await c.findOne({}, { showRecordId: true })));
  assert.equal(await errorCode(c.insertOne({ h: [1] })), 16766);
  assert.equal(await errorCode(c.createIndex({ u: "hashed" }, { unique: true })), 16764);
});

Deno.test("collMod makes an index unique once nothing is in its way", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const c = db.collection<Any>("c");
  await c.insertMany([{ _id: 1, x: 1 }, { _id: 2, x: 1 }]);
  await c.createIndex({ x: 1 });
  const index = (change: Any) =>
    db.command({ collMod: "c", index: { keyPattern: { x: 1 }, ...change } });
  assert.equal(await errorCode(index({ unique: true })), 72);
  await index({ prepareUnique: true });
  assert.equal(await errorCode(c.insertOne({ x: 1 })), 11000);
  await assert.rejects(index({ unique: true }), (error: Any) => {
    assert.equal(error.code, 359);
    assert.deepEqual(error.errorResponse.violations, [{ ids: [1, 2] }]);
    return true;
  });
  await c.deleteOne({ _id: 2 });
  await index({ unique: true });
  assert.equal((await c.indexes()).find(({ name }) => name === "x_1")!.unique, true);
});

Deno.test("an empty timestamp of the top level becomes the present one", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const zero = new Timestamp({ t: 0, i: 0 });
  await c.insertOne({ _id: 1, t: zero, below: { t: zero } });
  const one = await c.findOne({ _id: 1 });
  assert.ok(one.t.getHighBits() > 0);
  assert.ok(one.below.t.equals(zero));
  await c.replaceOne({ _id: 1 }, { t: zero });
  assert.ok((await c.findOne({ _id: 1 })).t.getHighBits() > 0);
});

Deno.test("sessions, statistics and the stable API answer as a server's", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  const admin = it.client.db("admin");
  const c = db.collection<Any>("c");
  await c.insertMany([{ x: 1 }, { x: 2 }]);
  await c.createIndex({ x: 1 });
  await c.findOne({ x: 1 });
  assert.ok((await admin.aggregate([{ $listLocalSessions: {} }]).toArray()).length >= 1);
  assert.equal((await admin.aggregate([{ $currentOp: {} }]).toArray()).length >= 1, true);
  const uses = await c.aggregate([{ $indexStats: {} }, { $match: { name: "x_1" } }]).toArray();
  assert.ok(uses[0]!.accesses.ops >= 1);
  const [stats] = await c.aggregate([{ $collStats: { count: {}, storageStats: {} } }]).toArray();
  assert.deepEqual([stats!.count, stats!.storageStats.nindexes], [2, 2]);
  assert.equal((await db.command({ validate: "c" })).valid, true);
  assert.equal((await db.command({ profile: -1 })).was, 0);
  assert.ok(
    (await it.client.db().admin().listDatabases()).databases.some(({ name }) => name === "admin"),
  );
  assert.ok((await db.listCollections().toArray()).every((one: Any) => one.info.uuid));
  const api = { apiVersion: "1", apiStrict: true };
  assert.equal(await errorCode(db.command({ distinct: "c", key: "x", ...api })), 323);
  assert.equal((await db.command({ ping: 1, ...api })).ok, 1);
  assert.equal(await errorCode(db.command({ ping: 1, apiVersion: "2" })), 322);
  assert.equal(await errorCode(db.command({ ping: 1, apiStrict: true })), 4886600);
  assert.equal(
    await errorCode(admin.command({ configureFailPoint: "failCommand", mode: "off" })),
    59,
  );
  assert.equal(await errorCode(admin.command({ replSetGetStatus: 1 })), 76);
  const letters = await c.aggregate([{ $match: { $expr: { $eq: ["$x", "$$want"] } } }], {
    let: { want: { $add: [1, 1] } },
  }).toArray();
  assert.equal(letters.length, 1);
});
