/** Clients that hold connections or bytes and do nothing with them: others are served all the same. @module */
import assert from "node:assert/strict";
import { serialize } from "bson";
import { MongoClient } from "mongodb";
import { until } from "../contract/harness.ts";
import { startStore, type Store } from "../mod.ts";

const MIB = 1024 * 1024;

function connect({ port }: Store): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port });
}

function message(body: Record<string, unknown>): Uint8Array {
  const document = serialize(body);
  const bytes = new Uint8Array(21 + document.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, bytes.length, true);
  view.setInt32(12, 2013, true);
  bytes.set(document, 21);
  return bytes;
}

/** Resolves when the store has closed a connection, whatever it sent before. */
async function closed(conn: Deno.Conn): Promise<true> {
  const chunk = new Uint8Array(65_536);
  for (;;) {
    const count = await conn.read(chunk).catch(() => null);
    if (count === null) return true;
  }
}

Deno.test("idle sockets shut nobody out: the oldest that has sent nothing makes room", async () => {
  await using store = await startStore({ port: 0, maxConnections: 8 });
  const client = new MongoClient(store.url, { maxPoolSize: 2, serverSelectionTimeoutMS: 5000 });
  const c = client.db("d").collection("c");
  await c.insertOne({});
  const idle: Deno.Conn[] = [];
  for (let i = 0; i < 50; i++) idle.push(await connect(store));
  assert.ok(await closed(idle[0]!));
  assert.equal(await c.countDocuments(), 1); // on a connection that stayed
  const other = new MongoClient(store.url, { maxPoolSize: 1, serverSelectionTimeoutMS: 5000 });
  assert.equal(await other.db("d").collection("c").countDocuments(), 1);
  await other.close();
  await client.close();
  for (const conn of idle) conn.close();
});

Deno.test("connections in use are not closed for new ones", async () => {
  await using store = await startStore({ port: 0, maxConnections: 3 });
  const used: Deno.Conn[] = [];
  for (let i = 0; i < 3; i++) {
    const conn = await connect(store);
    used.push(conn);
    await conn.write(message({ ping: 1, $db: "d" }));
    assert.notEqual(await conn.read(new Uint8Array(1000)), null);
  }
  const further = await connect(store);
  assert.ok(await closed(further));
  await used[0]!.write(message({ ping: 1, $db: "d" }));
  assert.notEqual(await used[0]!.read(new Uint8Array(1000)), null);
  for (const conn of [...used, further]) conn.close();
});

Deno.test("with a password, who has not logged in makes room for others", async () => {
  const password = "secret";
  await using store = await startStore({ port: 0, maxConnections: 8, password });
  const conns: Deno.Conn[] = [];
  for (let i = 0; i < 8; i++) {
    const conn = await connect(store);
    conns.push(conn);
    await conn.write(message({ hello: 1, $db: "admin" }));
    await conn.read(new Uint8Array(1000));
  }
  const auth = { username: "admin", password };
  const client = new MongoClient(store.url, { auth, serverSelectionTimeoutMS: 5000 });
  await client.db("d").collection("c").insertOne({});
  await client.close();
  // Nor may it send much.
  const large = await connect(store);
  await large.write(message({ hello: 1, $db: "admin", text: "x".repeat(100_000) })).catch(() => {});
  assert.ok(await closed(large));
  for (const conn of [...conns, large]) conn.close();
});

Deno.test("a connection that sends no command is closed after a time", async () => {
  await using store = await startStore({ port: 0, handshakeTimeout: 50 });
  const [silent, talking] = [await connect(store), await connect(store)];
  await talking.write(message({ ping: 1, $db: "d" }));
  assert.notEqual(await talking.read(new Uint8Array(1000)), null);
  assert.ok(await closed(silent));
  await talking.write(message({ ping: 1, $db: "d" }));
  assert.notEqual(await talking.read(new Uint8Array(1000)), null);
  silent.close();
  talking.close();
});

Deno.test("half-sent messages hold no more than the bound, all together", async () => {
  await using store = await startStore({ port: 0, maxHeldBytes: 16 * MIB });
  const half = message({ insert: "c", $db: "d", text: "x".repeat(6 * MIB) }).subarray(0, 5 * MIB);
  const conns = await Promise.all(Array.from({ length: 6 }, () => connect(store)));
  let ended = 0;
  for (const conn of conns) {
    // Some are closed while they write.
    (async () => {
      for (let at = 0; at < half.length;) at += await conn.write(half.subarray(at));
    })().catch(() => {});
    closed(conn).then(() => ended++);
  }
  await until("those beyond the bound are closed", () => ended >= 4);
  const client = new MongoClient(store.url, { serverSelectionTimeoutMS: 5000 });
  await client.db("d").collection("c").insertOne({});
  await client.close();
  assert.ok(ended < 6);
  for (const conn of conns) conn.close();
});

Deno.test("answers that nobody reads hold no more than the bound, all together", async () => {
  await using store = await startStore({ port: 0, maxHeldBytes: 40 * MIB });
  const client = new MongoClient(store.url, { serverSelectionTimeoutMS: 5000 });
  const c = client.db("d").collection("c");
  await c.insertOne({ text: "x".repeat(12 * MIB) });
  const conns = await Promise.all(Array.from({ length: 6 }, () => connect(store)));
  for (const conn of conns) await conn.write(message({ find: "c", $db: "d" }));
  const current = async () => (await client.db("d").admin().serverStatus()).connections.current;
  const before = await current();
  await until("those beyond the bound are closed", async () => await current() <= before - 3);
  const left = (await Promise.all(conns.map(async (conn) => {
    let bytes = 0;
    const chunk = new Uint8Array(MIB);
    for (;;) {
      const count = await conn.read(chunk).catch(() => null);
      if (count === null) return false;
      if ((bytes += count) > 12 * MIB) return true;
    }
  }))).filter((whole) => whole).length;
  assert.equal(left, 3);
  assert.equal(await c.countDocuments(), 1);
  await client.close();
  for (const conn of conns) conn.close();
});
