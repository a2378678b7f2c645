import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { until } from "./contract/harness.ts";
import { startStore } from "./mod.ts";

Deno.test("startStore() is ready within 100 ms", async () => {
  const start = performance.now();
  await using store = await startStore({ port: 0 });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: store.port });
  conn.close();
  assert.ok(performance.now() - start < 100, `${performance.now() - start} ms`);
});

Deno.test("startStore() ends cleanly under its clients", async () => {
  const store = await startStore({ port: 0 });
  const client = new MongoClient(store.url, { serverSelectionTimeoutMS: 200 });
  await client.db("d").collection("c").insertOne({});
  await store[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  await assert.rejects(client.db("d").collection("c").insertOne({}));
  await client.close();
  // The port is free again.
  await using again = await startStore({ port: store.port });
  assert.equal(again.port, store.port);
});

Deno.test("an idle cursor is closed after its time, unless it asked to stay", async () => {
  await using store = await startStore({ port: 0, cursorTimeout: 1, sweepInterval: 5 });
  const client = new MongoClient(store.url);
  const db = client.db("d");
  await db.collection("c").insertMany([{}, {}, {}]);
  const open = async () => (await db.admin().serverStatus()).metrics.cursor.open.total as number;
  await db.command({ find: "c", batchSize: 1 });
  await db.command({ find: "c", batchSize: 1, noCursorTimeout: true });
  await until("the idle cursor's end", async () => await open() === 1);
  await client.close();
});

Deno.test("cursors beyond the limit are refused, those within go on", async () => {
  await using store = await startStore({ port: 0, maxCursors: 2 });
  const client = new MongoClient(store.url);
  const db = client.db("d");
  await db.collection("c").insertMany([{}, {}, {}]);
  await db.command({ find: "c", batchSize: 1 });
  await db.command({ find: "c", batchSize: 1 });
  await assert.rejects(db.command({ find: "c", batchSize: 1 }), { code: 146 });
  assert.equal(await db.collection("c").countDocuments(), 3);
  await client.close();
});

Deno.test("half a message takes no more memory than what has arrived, and disturbs nobody", async () => {
  await using store = await startStore({ port: 0 });
  const header = new Uint8Array(16);
  new DataView(header.buffer).setInt32(0, 48_000_000, true);
  const before = Deno.memoryUsage().rss;
  const conns = [];
  for (let i = 0; i < 200; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: store.port });
    await conn.write(header);
    conns.push(conn);
  }
  const client = new MongoClient(store.url);
  await client.db("d").command({ ping: 1 });
  const grown = Deno.memoryUsage().rss - before;
  assert.ok(grown < 200 * 1024 * 1024, `${grown} bytes`);
  await client.close();
  for (const conn of conns) conn.close();
});
