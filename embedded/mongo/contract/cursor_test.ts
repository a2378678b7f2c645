/** Cursors that rest between their batches; the same on this store and, with `MONGO_URL` set, on a MongoDB. @module */
import assert from "node:assert/strict";
import type { FindCursor, WithId } from "mongodb";
import { setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

Deno.test("small batches yield what one large one does, along every way to read, while others write", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.createIndex({ n: 1 });
  await c.createIndex({ list: 1 });
  const documents = Array.from({ length: 700 }, (_, _id) => ({
    _id,
    n: (_id * 7) % 50,
    m: (_id * 11) % 700,
    list: [_id % 3, 10 + _id % 5],
  }));
  await c.insertMany(documents);
  const ways: Record<string, () => FindCursor<WithId<Any>>> = {
    natural: () => c.find(),
    "natural, backward": () => c.find().sort({ $natural: -1 }),
    "by _id": () => c.find({ _id: { $gte: 100 } }).sort({ _id: -1 }),
    "by an index": () => c.find({ n: { $gt: 10 } }).sort({ n: 1 }),
    "by an index, backward": () => c.find({ n: { $lt: 40 } }).sort({ n: -1 }),
    "by a multikey index": () => c.find({ list: { $gte: 1 } }),
    "by two indexes": () => c.find({ $or: [{ n: { $lt: 5 } }, { _id: { $lt: 50 } }] }),
    "sorted in memory": () => c.find({ n: { $ne: 3 } }).sort({ m: 1 }),
    "with skip and limit": () => c.find().skip(5).limit(100),
  };
  let other = 1000;
  for (const [name, find] of Object.entries(ways)) {
    const whole = (await find().batchSize(10_000).toArray()).map(({ _id }) => _id);
    assert.ok(whole.length >= 100, name);
    for (const size of [2, 7, 150]) {
      const found: number[] = [];
      const cursor = find().batchSize(size);
      for await (const { _id } of cursor) {
        found.push(_id);
        if (found.length % 100 === 0) {
          await c.updateOne({ _id: found.at(-1) }, { $set: { seen: 1 } });
        }
      }
      assert.deepEqual(found, whole, `${name}, batches of ${size}`);
    }
    await c.insertOne({ _id: other, n: -1, m: other++, list: [-1] }).then(() =>
      c.deleteOne({ _id: other - 1 })
    );
  }
  const piped = await c.aggregate([{ $match: { n: { $gt: 10 } } }, { $set: { x: 1 } }], {
    batchSize: 3,
  }).toArray();
  assert.equal(piped.length, await c.countDocuments({ n: { $gt: 10 } }));
});
