/** Input that is not a driver's: the connection may end, the store and everyone else may not. @module */
import assert from "node:assert/strict";
import { Binary, deserialize, serialize } from "bson";
import { MongoClient } from "mongodb";
import { startStore, type Store } from "../mod.ts";
import { crc32c } from "./crc32c.ts";

/** A repeatable source of numbers (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function message(body: Uint8Array, opCode = 2013, flags = 0, kind = 0): Uint8Array {
  const bytes = new Uint8Array(21 + body.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, bytes.length, true);
  view.setInt32(4, 77, true);
  view.setInt32(12, opCode, true);
  view.setInt32(16, flags, true);
  bytes[20] = kind;
  bytes.set(body, 21);
  return bytes;
}

function command(doc: Record<string, unknown>): Uint8Array {
  return serialize({ ...doc, $db: "test" });
}

/** Send bytes, and read until the store answers one whole message or closes. */
async function talk(
  store: Store,
  bytes: Uint8Array,
  end = false,
): Promise<Record<string, unknown> | "closed"> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: store.port });
  try {
    let got = new Uint8Array(0);
    const chunk = new Uint8Array(65536);
    const writing = (async () => {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
      if (end) await conn.closeWrite();
    })().catch(() => {});
    for (;;) {
      const count = await conn.read(chunk).catch(() => null);
      if (count === null) {
        await writing;
        return "closed";
      }
      const next = new Uint8Array(got.length + count);
      next.set(got);
      next.set(chunk.subarray(0, count), got.length);
      got = next;
      if (got.length >= 4 && got.length >= new DataView(got.buffer).getInt32(0, true)) {
        await writing;
        return deserialize(got.subarray(21));
      }
    }
  } finally {
    conn.close();
  }
}

Deno.test("messages that break the protocol end their connection only", async () => {
  await using store = await startStore({ port: 0 });
  const ping = command({ ping: 1 });
  const length = (value: number) => {
    const bytes = message(ping);
    new DataView(bytes.buffer).setInt32(0, value, true);
    return bytes;
  };
  const cases: Record<string, Uint8Array> = {
    "a length above the limit": length(48_000_001),
    "a negative length": length(-1),
    "a length below the header's": length(15),
    "an unknown opcode": message(ping, 9999),
    "OP_COMPRESSED, which was not agreed on": message(ping, 2012),
    "a required flag that nobody knows": message(ping, 2013, 1 << 5),
    "an unknown section": message(ping, 2013, 0, 9),
    "a wrong checksum": message(Uint8Array.from([...ping, 1, 2, 3, 4]), 2013, 1),
    "no body": message(new Uint8Array(0)),
    "HTTP": new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    assert.equal(await talk(store, bytes, true), "closed", name);
  }
  assert.equal((await talk(store, message(ping)) as { ok: number }).ok, 1);
});

Deno.test("a message with a right checksum is accepted", async () => {
  await using store = await startStore({ port: 0 });
  const bytes = message(Uint8Array.from([...command({ ping: 1 }), 0, 0, 0, 0]), 2013, 1);
  const sum = crc32c(bytes, 0, bytes.length - 4);
  new DataView(bytes.buffer).setUint32(bytes.length - 4, sum, true);
  assert.equal((await talk(store, bytes) as { ok: number }).ok, 1);
});

Deno.test("invalid BSON and deep nesting get an error document", async () => {
  await using store = await startStore({ port: 0 });
  const broken = command({ ping: 1, text: "hello" });
  broken[4] = 0x66; // no such type
  const answer = await talk(store, message(broken)) as { ok: number; code: number };
  assert.deepEqual([answer.ok, answer.code], [0, 22]);
  // 100,000 levels, built by hand: `serialize` would not survive it.
  const depth = 100_000;
  const deep = new Uint8Array(depth * 8 + 5);
  const view = new DataView(deep.buffer);
  for (let i = 0; i < depth; i++) {
    view.setInt32(i * 7, deep.length - i * 8, true);
    deep.set([0x03, 0x61, 0], i * 7 + 4);
  }
  view.setInt32(depth * 7, 5, true);
  const nested = await talk(store, message(deep)) as { ok: number; code: number };
  assert.deepEqual([nested.ok, nested.code], [0, 15]);
  let filter: Record<string, unknown> = { a: 1 };
  for (let i = 0; i < 180; i++) filter = i % 2 ? { $and: [filter] } : { $nor: [filter] };
  const find = await talk(store, message(command({ find: "c", filter })));
  assert.notEqual(find, "closed");
});

Deno.test("a document above 16 MiB is a write error of its own; the others are stored", async () => {
  await using store = await startStore({ port: 0 });
  const large = "x".repeat(16 * 1024 * 1024);
  const documents = [{ _id: 1 }, { _id: 2, large }, { _id: 3 }];
  const body = command({ insert: "c", documents, ordered: false });
  const answer = await talk(store, message(body)) as Record<string, Record<string, unknown>[]>;
  assert.deepEqual([answer.n, answer.writeErrors!.map(({ index, code }) => [index, code])], [
    2,
    [[1, 10334]],
  ]);
});

Deno.test("several messages in one packet are answered in order, byte by byte ones too", async () => {
  await using store = await startStore({ port: 0 });
  const ping = message(command({ ping: 1 }));
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: store.port });
  const bytes = new Uint8Array(ping.length * 3);
  for (let i = 0; i < 3; i++) {
    bytes.set(ping, i * ping.length);
    new DataView(bytes.buffer).setInt32(i * ping.length + 4, 100 + i, true);
  }
  await conn.write(bytes.subarray(0, bytes.length - 10));
  for (let i = bytes.length - 10; i < bytes.length; i++) await conn.write(bytes.subarray(i, i + 1));
  const answers: number[] = [];
  let got = new Uint8Array(0);
  while (answers.length < 3) {
    const chunk = new Uint8Array(1024);
    const count = await conn.read(chunk);
    assert.notEqual(count, null);
    got = Uint8Array.from([...got, ...chunk.subarray(0, count!)]);
    for (;;) {
      const view = new DataView(got.buffer, got.byteOffset);
      if (got.length < 16 || got.length < view.getInt32(0, true)) break;
      answers.push(view.getInt32(8, true));
      got = got.slice(view.getInt32(0, true));
    }
  }
  assert.deepEqual(answers, [100, 101, 102]);
  conn.close();
});

Deno.test("commands of the wrong shape get an error document", async () => {
  await using store = await startStore({ port: 0 });
  for (
    const [body, code] of [
      [{ find: 1 }, 73],
      [{ find: "c", filter: 1 }, 14],
      [{ find: "c", limit: "x" }, 14],
      [{ find: "c", batchSize: -1 }, 51024],
      [{ insert: "c" }, 40414],
      [{ insert: "c", documents: [] }, 16],
      [{ insert: "c", documents: [1] }, 14],
      [{ update: "c", updates: [{ q: {} }] }, undefined],
      [{ getMore: 5, collection: "c" }, 14],
      [{ aggregate: "c", pipeline: [] }, 9],
      [{ aggregate: "c", pipeline: 5, cursor: {} }, 14],
      [{ createIndexes: "c", indexes: [{}] }, 9],
      [{ __proto__x: 1 }, 59],
      [{ constructor: 1 }, 59],
    ] as [Record<string, unknown>, number | undefined][]
  ) {
    const answer = await talk(store, message(command(body)));
    assert.notEqual(answer, "closed");
    const { ok, code: got, writeErrors } = answer as Record<string, unknown>;
    if (code === undefined) assert.ok(writeErrors, JSON.stringify(body));
    else assert.deepEqual([ok, got], [0, code], JSON.stringify(body));
  }
});

Deno.test("random and damaged messages never end the store, nor another connection", async () => {
  await using store = await startStore({ port: 0 });
  const seed = Number(Deno.env.get("FUZZ_SEED") ?? 1);
  const seconds = Number(Deno.env.get("FUZZ_SECONDS") ?? 3);
  const next = random(seed);
  const client = new MongoClient(store.url);
  // deno-lint-ignore no-explicit-any
  const c = client.db("bystander").collection<any>("c");
  await c.insertOne({ _id: 1, n: 0 });
  const good = [
    { insert: "c", documents: [{ _id: 1, a: [1, "x", { b: 2 }] }, { c: new Date(0) }] },
    { find: "c", filter: { a: { $gt: 1 }, b: { $in: [1, "x"] } }, sort: { a: 1 }, batchSize: 2 },
    { update: "c", updates: [{ q: { _id: 1 }, u: { $set: { "a.b": 1 } }, upsert: true }] },
    { aggregate: "c", pipeline: [{ $match: { a: 1 } }, { $group: { _id: "$a" } }], cursor: {} },
    { findAndModify: "c", query: { a: 1 }, update: { $inc: { n: 1 } }, upsert: true },
    { createIndexes: "c", indexes: [{ key: { a: 1 }, name: "a_1" }] },
    { delete: "c", deletes: [{ q: { a: 1 }, limit: 0 }] },
    { hello: 1 },
    { create: "tail", capped: true, size: 4096, max: 3 },
    { insert: "tail", documents: [{ n: 1 }, { n: 2 }] },
    { find: "tail", tailable: true, awaitData: true, batchSize: 1 },
    { create: "seen", viewOn: "c", pipeline: [{ $match: { a: { $gt: 0 } } }] },
    { find: "seen", filter: { b: "x" }, collation: { locale: "de", strength: 1 }, sort: { b: -1 } },
    { collMod: "c", validator: { $jsonSchema: { properties: { z: { bsonType: ["int"] } } } } },
    { find: "c", hint: { a: 1 }, min: { a: 1 }, max: { a: "x" }, showRecordId: true },
    { distinct: "c", key: "a", query: { a: { $type: "string" } }, collation: { locale: "en" } },
    { find: "c", filter: { a: { $regex: "^(?!.*b)(a+)+[x-z]\\d?$", $options: "ix" } } },
    { saslStart: 1, mechanism: "SCRAM-SHA-256", payload: new Binary(new Uint8Array(20)) },
    { aggregate: 1, pipeline: [{ $listLocalSessions: {} }, { $limit: 1 }], cursor: {} },
  ].map((doc) => message(command(doc)));
  const end = Date.now() + seconds * 1000;
  let sent = 0;
  while (Date.now() < end) {
    const batch = Array.from({ length: 8 }, () => {
      const bytes = good[Math.floor(next() * good.length)]!.slice();
      const kind = next();
      if (kind < 0.6) {
        const from = next() < 0.5 ? 16 : 0; // half of them keep their header
        for (let i = 0, n = 1 + Math.floor(next() * 6); i < n; i++) {
          bytes[from + Math.floor(next() * (bytes.length - from))] = Math.floor(next() * 256);
        }
        return bytes;
      }
      if (kind < 0.8) return bytes.subarray(0, Math.floor(next() * bytes.length));
      return Uint8Array.from({ length: Math.floor(next() * 200) }, () => Math.floor(next() * 256));
    });
    await Promise.all(batch.map((bytes) => talk(store, bytes, true)));
    sent += batch.length;
    const { value } = await c.findOneAndUpdate({ _id: 1 }, { $inc: { n: 1 } }, {
      returnDocument: "after",
      includeResultMetadata: true,
    });
    assert.equal(value.n, sent / 8, `seed ${seed}`);
  }
  await client.close();
});
