/** A disk that fills up: what cannot be written is refused, and nothing that was acknowledged is lost. @module */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { startStore } from "../mod.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

const MIB = 1024 * 1024;
const FULL = { code: 14031, codeName: "OutOfDiskSpace" };

async function mount(...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(args[0]!, { args: args.slice(1), stderr: "null" })
      .output();
    return success;
  } catch {
    return false;
  }
}

/** A disk of its own, `size` bytes large, that goes with the test. */
async function smallDisk(size: number): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  const mounted = await mount("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path);
  assert.ok(mounted, "a tmpfs can be mounted");
  return {
    path,
    async [Symbol.asyncDispose]() {
      await mount("umount", path);
      await Deno.remove(path);
    },
  };
}

const probe = await Deno.makeTempDir();
const ignore = !(await mount("mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", probe));
if (!ignore) await mount("umount", probe);
await Deno.remove(probe);

/** Run on a store whose disk has 8 MiB, of which `filler` can be given back. */
async function onSmallDisk(
  work: (
    it: { client: MongoClient; reopen: () => Promise<MongoClient>; free: () => void },
  ) => Promise<void>,
): Promise<void> {
  await using disk = await smallDisk(8 * MIB);
  const filler = `${disk.path}/filler`;
  await Deno.writeFile(filler, new Uint8Array(4 * MIB));
  const file = `${disk.path}/store.sqlite`;
  let store = await startStore({ port: 0, file });
  let client = new MongoClient(store.url);
  try {
    await work({
      client,
      free: () => Deno.truncateSync(filler),
      async reopen() {
        await client.close();
        await store[Symbol.asyncDispose]();
        store = await startStore({ port: 0, file });
        return client = new MongoClient(store.url);
      },
    });
  } finally {
    await client.close();
    await store[Symbol.asyncDispose]();
  }
}

async function idsOf(client: MongoClient, name = "c"): Promise<unknown[]> {
  const found = await client.db("d").collection<Any>(name).find().sort({ _id: 1 }).toArray();
  return found.map(({ _id }) => _id);
}

Deno.test({
  name: "a full disk refuses writes with OutOfDiskSpace, keeps what it has, and goes on with space",
  ignore,
  fn: () =>
    onSmallDisk(async ({ client, reopen, free }) => {
      const c = client.db("d").collection<Any>("c");
      await c.createIndex({ n: 1 });
      const stored: number[] = [];
      const insert = async (_id: number) => {
        await c.insertOne({ _id, n: _id, text: "x".repeat(500_000) });
        stored.push(_id);
      };
      let refused = 0;
      for (let id = 1; id <= 40 && !refused; id++) {
        await insert(id).catch((error) => {
          assert.deepEqual({ code: error.code, codeName: error.codeName }, FULL);
          refused = id;
        });
      }
      assert.ok(refused > 1);
      // Memory and file agree: by scan, by `_id`, by the index, and by the count.
      assert.deepEqual(await idsOf(client), stored);
      assert.equal(await c.findOne({ _id: refused }), null);
      assert.equal(await c.findOne({ n: refused }), null);
      assert.equal(await c.estimatedDocumentCount(), stored.length);
      await assert.rejects(
        client.db("d").collection("more").insertOne({ x: "x".repeat(MIB) }),
        FULL,
      );
      free();
      await insert(refused);
      await insert(100);
      assert.deepEqual(await idsOf(client), stored);
      const again = await reopen();
      assert.deepEqual(await idsOf(again), stored);
      assert.equal((await again.db("d").collection("c").indexes()).length, 2);
    }),
});

Deno.test({
  name: "a command is not acknowledged when an earlier statement of it was rolled back",
  ignore,
  fn: () =>
    onSmallDisk(async ({ client, reopen }) => {
      const c = client.db("d").collection<Any>("c");
      await c.insertMany([{ _id: 1 }, { _id: 2 }]);
      // The pipeline loads the aggregation language, which takes turns of the event loop: the first statement is
      // committed, and fails, before the second is executed.
      const command = client.db("d").command({
        update: "c",
        updates: [
          { q: { _id: 1 }, u: { $set: { text: "x".repeat(6 * MIB) } } },
          { q: { _id: 2 }, u: [{ $set: { small: 1 } }] },
        ],
      });
      await assert.rejects(command, FULL);
      const again = await reopen();
      assert.equal((await again.db("d").collection<Any>("c").findOne({ _id: 1 }))?.text, undefined);
    }),
});

Deno.test({
  name: "of many writers on a full disk, each learns whether its own document is stored",
  ignore,
  fn: () =>
    onSmallDisk(async ({ client, reopen, free }) => {
      const c = client.db("d").collection<Any>("c");
      await c.insertOne({ _id: 0 });
      const stored = new Set<unknown>([0]);
      for (let round = 1; round <= 12; round++) {
        if (round === 10) free();
        await Promise.all(Array.from({ length: 8 }, async (_, i) => {
          const _id = round * 100 + i;
          const text = "x".repeat(i % 4 === 0 ? 400_000 : 100);
          try {
            await c.insertOne({ _id, text });
            stored.add(_id);
          } catch (error) {
            assert.equal((error as Any).code, 14031);
          }
        }));
      }
      assert.deepEqual(await idsOf(client), [...stored].sort((a: Any, b: Any) => a - b));
      assert.deepEqual(await idsOf(await reopen()), [...stored].sort((a: Any, b: Any) => a - b));
    }),
});

Deno.test({
  name: "an index, a new collection and $out on a full disk are all there or not at all",
  ignore,
  fn: () =>
    onSmallDisk(async ({ client, reopen, free }) => {
      const db = client.db("d");
      const c = db.collection<Any>("c");
      const documents = Array.from({ length: 20 }, (_, _id) => ({ _id, key: "k".repeat(110_000) }));
      await c.insertMany(documents);
      await assert.rejects(c.createIndex({ key: 1, _id: 1 }), FULL);
      await assert.rejects(c.aggregate([{ $out: "copy" }]).toArray(), FULL);
      const state = async (it: MongoClient) => [
        (await it.db("d").collection("c").indexes()).length,
        (await it.db("d").listCollections().toArray()).map(({ name }) => name),
        (await idsOf(it)).length,
      ];
      assert.deepEqual(await state(client), [1, ["c"], 20]);
      let now = await reopen();
      assert.deepEqual(await state(now), [1, ["c"], 20]);
      free();
      await now.db("d").collection("c").createIndex({ key: 1, _id: 1 });
      now = await reopen();
      assert.deepEqual(await state(now), [2, ["c"], 20]);
    }),
});

Deno.test({
  name: "a store on a full disk does not start, and says why",
  ignore,
  async fn() {
    await using disk = await smallDisk(MIB);
    await Deno.writeFile(`${disk.path}/filler`, new Uint8Array(MIB - 4096));
    await assert.rejects(startStore({ port: 0, file: `${disk.path}/store.sqlite` }), {
      message: /^Cannot open the store's file .*disk is full/,
    });
  },
});
