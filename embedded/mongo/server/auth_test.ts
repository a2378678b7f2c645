import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { startStore } from "../mod.ts";

const password = "s3cret, = \u00e9";

function client(port: number, user: string, secret: string): MongoClient {
  return new MongoClient(`mongodb://127.0.0.1:${port}`, {
    auth: { username: user, password: secret },
    serverSelectionTimeoutMS: 2000,
  });
}

Deno.test("a store with a password lets in who knows it, on any address", async () => {
  await using store = await startStore({ hostname: "0.0.0.0", port: 0, password });
  const admin = client(store.port, "admin", password);
  await admin.db("d").collection("c").insertOne({ a: 1 });
  assert.equal(await admin.db("d").collection("c").countDocuments(), 1);
  await admin.close();
});

Deno.test("a wrong password, a wrong name and none at all are refused", async () => {
  await using store = await startStore({ port: 0, username: "me", password });
  for (const [user, secret] of [["me", "wrong"], ["you", password]] as const) {
    const other = client(store.port, user, secret);
    await assert.rejects(other.db("d").collection("c").insertOne({}), { code: 18 });
    await other.close();
  }
  const nobody = new MongoClient(store.url);
  for (const command of [{ find: "c" }, { insert: "c", documents: [{}] }, { listCollections: 1 }]) {
    await assert.rejects(nobody.db("d").command(command), { code: 13 });
  }
  assert.equal((await nobody.db("admin").command({ ping: 1 })).ok, 1);
  await nobody.close();
  const me = client(store.port, "me", password);
  assert.deepEqual(await me.db("d").listCollections().toArray(), []);
  await me.close();
});
