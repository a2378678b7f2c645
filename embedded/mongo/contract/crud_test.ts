/** What a driver observes; the same on this store and, with `MONGO_URL` set, on a MongoDB. @module */
import assert from "node:assert/strict";
// The driver's own classes: its copy of `bson` is another one than ours.
import {
  Binary,
  BSONRegExp,
  Decimal128,
  type Document,
  Double,
  Int32,
  Long,
  MongoBulkWriteError,
  ObjectId,
  Timestamp,
} from "mongodb";
import { errorCode, setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

Deno.test("a driver connects, pings and learns the limits", async () => {
  await using it = await setup();
  const admin = it.client.db("admin");
  const hello = await admin.command({ hello: 1 });
  assert.equal(hello.isWritablePrimary, true);
  assert.equal(hello.maxBsonObjectSize, 16777216);
  assert.equal(hello.maxMessageSizeBytes, 48000000);
  assert.equal(hello.maxWriteBatchSize, 100000);
  assert.equal((await admin.command({ ping: 1 })).ok, 1);
  assert.match((await admin.command({ buildInfo: 1 })).version, /^\d+\.\d+\.\d+/);
});

Deno.test("an unknown command is error 59, an unknown field 40415", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  await assert.rejects(db.command({ noSuchThing: 1 }), {
    code: 59,
    codeName: "CommandNotFound",
    message: /^no such command: 'noSuchThing'/,
  });
  assert.equal(await errorCode(db.command({ find: "c", noSuchField: 1 })), 40415);
});

Deno.test("insertMany() unordered stores all but the duplicates and names each by its index", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const docs = [{ _id: 1 }, { _id: 2 }, { _id: 1 }, { _id: 3 }, { _id: 2 }];
  const error = await c.insertMany(docs, { ordered: false }).then(
    () => assert.fail("no error"),
    (e: MongoBulkWriteError) => e,
  );
  assert.ok(error instanceof MongoBulkWriteError);
  assert.equal(error.code, 11000);
  const list = [error.writeErrors].flat();
  assert.deepEqual(list.map((one) => [one.index, one.code]), [[2, 11000], [4, 11000]]);
  assert.equal(
    list[0]!.errmsg,
    `E11000 duplicate key error collection: ${it.name}.c index: _id_ dup key: { _id: 1 }`,
  );
  assert.equal(error.result.insertedCount, 3);
  assert.equal(await c.countDocuments(), 3);
});

Deno.test("insertMany() ordered stops at the first duplicate", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const docs = [{ _id: 1 }, { _id: 1 }, { _id: 2 }];
  await assert.rejects(c.insertMany(docs), { code: 11000 });
  assert.deepEqual(await c.find().toArray(), [{ _id: 1 }]);
});

Deno.test("documents come back as they were sent, every type and number type kept", async () => {
  await using it = await setup({ promoteValues: false, bsonRegExp: true });
  const c = it.client.db(it.name).collection<Any>("c");
  const doc = {
    _id: new ObjectId(),
    int: new Int32(1),
    long: Long.fromString("9007199254740993"),
    small: Long.fromNumber(1),
    double: new Double(1),
    decimal: Decimal128.fromString("1.10"),
    date: new Date(1e12),
    binary: new Binary(Uint8Array.of(1, 2, 3), 0),
    regex: new BSONRegExp("a.b", "i"),
    timestamp: new Timestamp({ t: 5, i: 6 }),
    nested: { z: null, a: [new Int32(1), { b: "x" }], empty: {} },
    text: "h\u00e9llo \u{1f600}\0",
    yes: true,
  };
  await c.insertOne(doc);
  const back = await c.findOne({ _id: doc._id });
  assert.deepEqual(back, doc);
  assert.deepEqual(Object.keys(back!), Object.keys(doc));
  // The same once the store has decoded and encoded it.
  await c.updateOne({ _id: doc._id }, { $set: { more: new Double(2) } });
  assert.deepEqual(await c.findOne({}), { ...doc, more: new Double(2) });
});

Deno.test("_id is added when it is missing and comes first", async () => {
  await using it = await setup({ forceServerObjectId: true });
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ a: 1 });
  await c.insertOne({ b: 1, _id: 7 });
  const [first, second] = await c.find().toArray();
  assert.ok(first!._id instanceof ObjectId);
  assert.deepEqual(Object.keys(second!), ["_id", "b"]);
});

Deno.test("find() filters, sorts, skips, limits, projects and goes on over batches", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany(
    Array.from({ length: 250 }, (_, i) => ({ _id: i, n: i % 10, t: { u: [i, -i] } })),
  );
  assert.equal((await c.find().toArray()).length, 250);
  assert.deepEqual(
    (await c.find({ n: 3 }).sort({ _id: -1 }).skip(1).limit(2).toArray()).map((d) => d._id),
    [233, 223],
  );
  const cursor = c.find({}, { batchSize: 7 });
  const seen = [];
  for await (const doc of cursor) seen.push(doc._id);
  assert.deepEqual(seen, Array.from({ length: 250 }, (_, i) => i));
  assert.deepEqual(await c.findOne({ _id: 5 }, { projection: { "t.u": 1, _id: 0 } }), {
    t: { u: [5, -5] },
  });
  assert.deepEqual(await c.findOne({ _id: 5 }, { projection: { t: 0 } }), { _id: 5, n: 5 });
  assert.deepEqual(await c.findOne({ _id: 5 }, { projection: { "t.u": { $slice: 1 }, n: 1 } }), {
    _id: 5,
    n: 5,
    t: { u: [5] },
  });
  assert.deepEqual(await c.findOne({ "t.u": -5 }, { projection: { "t.u.$": 1 } }), {
    _id: 5,
    t: { u: [-5] },
  });
  assert.equal(await c.countDocuments({ n: { $gte: 8 } }), 50);
  assert.equal(await c.countDocuments({ n: 1 }, { skip: 5, limit: 10 }), 10);
  assert.equal(await c.estimatedDocumentCount(), 250);
  assert.deepEqual(await c.distinct("n", { _id: { $lt: 3 } }), [0, 1, 2]);
});

Deno.test("a killed or forgotten cursor is error 43", async () => {
  await using it = await setup();
  const db = it.client.db(it.name);
  await db.collection<Any>("c").insertMany(Array.from({ length: 10 }, (_, i) => ({ _id: i })));
  const first = await db.command({ find: "c", batchSize: 2 }, { promoteLongs: false });
  const id = first.cursor.id;
  assert.notEqual(Number(id), 0);
  const killed = await db.command({ killCursors: "c", cursors: [id] });
  assert.equal(killed.cursorsKilled.length, 1);
  assert.equal(await errorCode(db.command({ getMore: id, collection: "c" })), 43);
});

Deno.test("query operators match as the manual says", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertMany([
    { _id: 1, a: 1, tags: ["x", "y"], s: "Hello", items: [{ k: 1, v: 5 }, { k: 2, v: 9 }] },
    { _id: 2, a: null, tags: [], s: "world", items: [{ k: 1, v: 9 }] },
    { _id: 3, tags: "x", s: "HELP", a: Double.fromString("1") },
    { _id: 4, a: "1", b: { c: 1, d: 2 } },
  ]);
  const ids = async (filter: Document) =>
    (await c.find(filter).sort({ _id: 1 }).toArray()).map((d) => d._id);
  assert.deepEqual(await ids({ a: 1 }), [1, 3]);
  assert.deepEqual(await ids({ a: null }), [2]);
  assert.deepEqual(await ids({ b: null }), [1, 2, 3]);
  assert.deepEqual(await ids({ a: { $exists: false } }), []);
  assert.deepEqual(await ids({ b: { $exists: true } }), [4]);
  assert.deepEqual(await ids({ a: { $ne: 1 } }), [2, 4]);
  assert.deepEqual(await ids({ a: { $gt: 0 } }), [1, 3]);
  assert.deepEqual(await ids({ a: { $type: "string" } }), [4]);
  assert.deepEqual(await ids({ tags: "x" }), [1, 3]);
  assert.deepEqual(await ids({ tags: { $all: ["x", "y"] } }), [1]);
  assert.deepEqual(await ids({ tags: { $size: 0 } }), [2]);
  assert.deepEqual(await ids({ tags: ["x", "y"] }), [1]);
  assert.deepEqual(await ids({ tags: { $in: ["y", /^z/] } }), [1]);
  assert.deepEqual(await ids({ tags: { $nin: ["x"] } }), [2, 4]);
  assert.deepEqual(await ids({ s: /^hel/i }), [1, 3]);
  assert.deepEqual(await ids({ s: { $regex: "O$", $options: "i" } }), [1]);
  assert.deepEqual(await ids({ s: { $not: /l/ } }), [3, 4]);
  assert.deepEqual(await ids({ items: { $elemMatch: { k: 1, v: 9 } } }), [2]);
  assert.deepEqual(await ids({ "items.k": 1, "items.v": 9 }), [1, 2]);
  assert.deepEqual(await ids({ "items.1.v": 9 }), [1]);
  assert.deepEqual(await ids({ b: { c: 1, d: 2 } }), [4]);
  assert.deepEqual(await ids({ b: { d: 2, c: 1 } }), []);
  assert.deepEqual(await ids({ $or: [{ _id: 1 }, { s: "world" }] }), [1, 2]);
  assert.deepEqual(await ids({ $nor: [{ _id: 1 }, { s: "world" }] }), [3, 4]);
  assert.deepEqual(await ids({ _id: { $mod: [2, 1] } }), [1, 3]);
  assert.deepEqual(
    await ids({ $expr: { $gt: ["$_id", { $size: { $ifNull: ["$items", []] } }] } }),
    [2, 3, 4],
  );
  assert.equal(await errorCode(c.find({ a: { $nope: 1 } }).toArray()), 2);
  assert.equal(await errorCode(c.find({ $nope: 1 }).toArray()), 2);
  assert.equal(await errorCode(c.find({ $or: [] }).toArray()), 2);
  assert.equal(await errorCode(c.find({ a: { $in: 1 } }).toArray()), 2);
});

Deno.test("bulkWrite() counts what each statement did, and keeps the index of a failure", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const result = await c.bulkWrite([
    { insertOne: { document: { _id: 1, a: 1 } } },
    { insertOne: { document: { _id: 2, a: 1 } } },
    { updateMany: { filter: { a: 1 }, update: { $set: { b: 1 } } } },
    { updateOne: { filter: { _id: 3 }, update: { $set: { c: 1 } }, upsert: true } },
    { deleteOne: { filter: { _id: 2 } } },
  ]);
  assert.deepEqual(
    [result.insertedCount, result.modifiedCount, result.upsertedCount, result.deletedCount],
    [2, 2, 1, 1],
  );
  assert.deepEqual(result.upsertedIds, { 3: 3 });
  const operations = [
    { insertOne: { document: { _id: 9 } } },
    { insertOne: { document: { _id: 1 } } },
    { insertOne: { document: { _id: 10 } } },
  ];
  const error = await c.bulkWrite(operations).then(() => assert.fail(), (e) => e);
  assert.equal(error.writeErrors[0].index, 1);
  assert.equal(await c.countDocuments({ _id: { $in: [9, 10] } }), 1);
});

Deno.test("a document above 16 MiB is refused, and the connection goes on", async () => {
  await using it = await setup({ maxPoolSize: 1 });
  const db = it.client.db(it.name);
  await db.collection<Any>("c").insertOne({ _id: 1, s: "x".repeat(16777216 - 1000) });
  const grow = db.collection<Any>("c").updateOne({ _id: 1 }, { $set: { t: "y".repeat(2000) } });
  assert.ok([10334, 17419, 17280].includes(await errorCode(grow)));
  assert.equal(await db.collection<Any>("c").countDocuments({ t: { $exists: true } }), 0);
});

Deno.test("the legacy option w: 0 is obeyed without an answer", async () => {
  await using it = await setup({ maxPoolSize: 1 });
  const c = it.client.db(it.name).collection<Any>("c");
  const result = await c.insertOne({ _id: 1 }, { writeConcern: { w: 0 } });
  assert.equal(result.acknowledged, false);
  assert.equal(await c.countDocuments({}), 1);
});

Deno.test("transactions and waiting for replicas are refused on a standalone server", async () => {
  await using it = await setup();
  if (!it.embedded) return; // another deployment may well have them
  const db = it.client.db(it.name);
  assert.equal(
    await errorCode(db.command({ insert: "c", documents: [{}], writeConcern: { w: 2 } })),
    2,
  );
  const transaction = { txnNumber: Long.fromNumber(1), autocommit: false, startTransaction: true };
  assert.equal(await errorCode(db.command({ insert: "c", documents: [{}], ...transaction })), 20);
});
