/** What a client can make the store hold is bounded in bytes: beyond, it gets an error and the store goes on. @module */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { startStore } from "../mod.ts";

const MIB = 1024 * 1024;

Deno.test("open cursors hold their place, not what they have read ahead, and not too much of that", async () => {
  await using store = await startStore({ port: 0 });
  const client = new MongoClient(store.url);
  const db = client.db("d");
  for (let _id = 0; _id < 20; _id++) {
    await db.collection<{ _id: number }>("c").insertOne(
      { _id, text: "x".repeat(4 * MIB) } as never,
    );
  }
  const before = Deno.memoryUsage().rss;
  const ids: bigint[] = [];
  const open = async () => {
    const answer = await db.command({ find: "c", batchSize: 1 }, { useBigInt64: true });
    ids.push(answer.cursor.id);
  };
  let refused;
  for (let i = 0; i < 100 && !refused; i++) await open().catch((error) => refused = error.code);
  assert.equal(refused, 146);
  assert.ok(ids.length >= 60 && ids.length <= 64, `${ids.length} cursors`);
  const grown = Deno.memoryUsage().rss - before;
  assert.ok(grown < 1000 * MIB, `${grown} bytes`);
  // They go on where they were, and make room when they end.
  const next = await db.command({ getMore: ids[0], collection: "c", batchSize: 1 }, {
    ignoreUndefined: true,
  });
  assert.equal(next.cursor.nextBatch[0]._id, 1);
  await db.command({ killCursors: "c", cursors: ids });
  await open();
  await client.close();
});

Deno.test("a pipeline or a sort that would hold too much is an error", async () => {
  await using store = await startStore({ port: 0 });
  const client = new MongoClient(store.url);
  const c = client.db("d").collection("c");
  const text = "x".repeat(15 * MIB);
  for (let n = 0; n < 18; n++) await c.insertOne({ n, text: `${n}${text}` });
  await assert.rejects(c.find().sort({ text: 1 }).toArray(), { code: 292 });
  await assert.rejects(c.aggregate([{ $group: { _id: "$text" } }]).toArray(), { code: 146 });
  const join = { from: "c", pipeline: [], as: "all" };
  await assert.rejects(c.aggregate([{ $limit: 1 }, { $lookup: join }]).toArray(), { code: 146 });
  const list = { $group: { _id: null, all: { $push: "$text" } } };
  await assert.rejects(c.aggregate([{ $limit: 2 }, list]).toArray(), { code: 10334 });
  // What goes through one by one is no matter of size.
  assert.equal((await c.aggregate([{ $set: { m: 1 } }, { $count: "n" }]).toArray())[0]!.n, 18);
  await c.aggregate([{ $project: { n: 1 } }, { $out: "numbers" }]).toArray();
  assert.equal(await client.db("d").collection("numbers").countDocuments(), 18);
  await client.close();
});
