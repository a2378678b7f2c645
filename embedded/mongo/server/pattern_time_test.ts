/** A client's pattern takes a moment, wherever it stands: it must not stop the store. @module */
import assert from "node:assert/strict";
import { BSONRegExp, type Db, MongoClient } from "mongodb";
import { startStore } from "../mod.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

// 28 characters stop a backtracking engine for seconds, and each further one doubles that: 100,000 would take for ever.
const EVIL = "^(a+)+$";
const TEXTS = ["a".repeat(28) + "b", "a".repeat(100_000) + "b"];

/** Every place that takes a pattern. Each is a command that a fresh store must be able to begin with. */
const PLACES: Record<string, (db: Db) => Promise<unknown>> = {
  "$regex": (db) => db.collection("c").find({ t: { $regex: EVIL } }).toArray(),
  "a regular expression": (db) => db.collection("c").find({ t: new BSONRegExp(EVIL) }).toArray(),
  "$in": (db) => db.collection("c").find({ t: { $in: [new BSONRegExp(EVIL)] } }).toArray(),
  "$not": (db) => db.collection("c").countDocuments({ t: { $not: new BSONRegExp(EVIL) } }),
  "$all": (db) => db.collection("c").find({ t: { $all: [new BSONRegExp(EVIL)] } }).toArray(),
  "$elemMatch": (db) =>
    db.collection("c").find({ list: { $elemMatch: { $regex: EVIL } } }).toArray(),
  "a projection": (db) =>
    db.collection("c").find({}, { projection: { list: { $elemMatch: { $regex: EVIL } } } })
      .toArray(),
  "$jsonSchema": (db) =>
    db.collection("c").find({ $jsonSchema: { properties: { t: { pattern: EVIL } } } }).toArray(),
  "patternProperties": (db) =>
    db.collection("c").find({ $jsonSchema: { patternProperties: { [EVIL]: {} } } }).toArray(),
  "distinct": (db) => db.collection("c").distinct("t", { t: { $regex: EVIL } }),
  "explain": (db) => db.collection("c").find({ t: { $regex: EVIL } }).explain("executionStats"),
  "delete": (db) => db.collection("c").deleteMany({ t: { $regex: EVIL } }),
  "update": (db) => db.collection("c").updateMany({ t: { $regex: EVIL } }, { $set: { x: 1 } }),
  "findAndModify": (db) => db.collection("c").findOneAndDelete({ t: { $regex: EVIL } }),
  "$pull": (db) =>
    db.collection<Any>("c").updateMany({}, { $pull: { list: { $regex: EVIL } } as Any }),
  "arrayFilters": (db) =>
    db.collection<Any>("c").updateMany(
      { list: { $exists: true } },
      { $set: { "list.$[e]": "x" } },
      {
        arrayFilters: [{ e: { $regex: EVIL } }],
      },
    ),
  "a validator": async (db) => {
    await db.command({ collMod: "c", validator: { $nor: [{ t: { $regex: EVIL } }] } });
    for (const t of TEXTS) await db.collection("c").insertOne({ t });
  },
  "listCollections": (db) => db.listCollections({ name: { $regex: EVIL } }).toArray(),
  "listDatabases": (db) => db.admin().listDatabases({ filter: { name: { $regex: EVIL } } }),
  "$match": (db) =>
    db.collection("c").aggregate([{ $limit: 9 }, { $match: { t: { $regex: EVIL } } }]).toArray(),
  "$regexMatch": (db) =>
    db.collection("c").find({ $expr: { $regexMatch: { input: "$t", regex: EVIL } } }).toArray(),
  "$regexFind": (db) =>
    db.collection("c").aggregate([{ $set: { m: { $regexFind: { input: "$t", regex: EVIL } } } }])
      .toArray(),
  "$regexFindAll": (db) =>
    db.collection("c").aggregate([{ $set: { m: { $regexFindAll: { input: "$t", regex: EVIL } } } }])
      .toArray(),
  "$graphLookup": (db) =>
    db.collection("c").aggregate([{
      $graphLookup: {
        from: "c",
        startWith: "$t",
        connectFromField: "t",
        connectToField: "t",
        as: "found",
        restrictSearchWithMatch: { t: { $regex: EVIL } },
      },
    }]).toArray(),
  "a view": async (db) => {
    await db.createCollection("seen", {
      viewOn: "c",
      pipeline: [{ $match: { t: { $regex: EVIL } } }],
    });
    await db.collection("seen").find().toArray();
  },
};

/** Run one place against a store in a process of its own, which has compiled no pattern before. */
async function place(url: string, name: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000 });
  try {
    const db = client.db("d");
    const c = db.collection<Any>("c");
    await c.insertMany(TEXTS.map((t) => ({ t, list: [t], [t]: 1 })));
    const started = performance.now();
    await PLACES[name]!(db);
    const took = performance.now() - started;
    assert.ok(took < 10_000, `${name} took ${took} ms`);
  } finally {
    await client.close();
  }
}

for (const name of Object.keys(PLACES)) {
  Deno.test(`a pattern that would backtrack for ever is matched at once: ${name}`, async () => {
    await using store = await startStore({ port: 0 });
    await place(store.url, name);
  });
}

Deno.test("patterns are loaded with the first command that has one, whichever that is", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const program = `${directory}/store.ts`;
    await Deno.writeTextFile(
      program,
      `import { startStore } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
       for (const _ of Array(1)) console.log((await startStore({ port: 0, file: Deno.args[0] })).url);`,
    );
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const start = async (file: string) => {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-check", "--config", config, "-A", program, file],
        stdout: "piped",
        stdin: "null",
      }).spawn();
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return { child, url: value!.trim() };
    };
    const stop = async ({ child }: { child: Deno.ChildProcess }) => {
      child.kill("SIGKILL");
      await child.status;
    };
    const names = Object.keys(PLACES);
    for (let at = 0; at < names.length; at += 4) {
      await Promise.all(
        names.slice(at, at + 4).map(async (name, i) => {
          const file = `${directory}/${at + i}.db`;
          const store = await start(file);
          await place(store.url, name).finally(() => stop(store));
          // What is stored with a pattern in it works after a restart.
          if (name !== "a validator" && name !== "a view") return;
          const again = await start(file);
          const client = new MongoClient(again.url);
          await client.db("d").collection("c").insertOne({ t: "x" });
          assert.deepEqual(await client.db("d").collection("seen").find().toArray(), []);
          await client.close();
          await stop(again);
        }),
      );
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a pattern that is slow on large texts is ended, and the store goes on", async () => {
  await using store = await startStore({ port: 0 });
  const client = new MongoClient(store.url);
  const c = client.db("d").collection<Any>("c");
  // No deterministic automaton of reasonable size: every step costs as much as the pattern is long.
  const slow = "a[ab]{900}c";
  const text = "c" +
    Array.from({ length: 300_000 }, () => Math.random() < 0.5 ? "a" : "b").join("");
  for (let _id = 0; _id < 30; _id++) await c.insertOne({ _id, text });
  await assert.rejects(c.find({ text: { $regex: slow } }).toArray(), { code: 51156 });
  await assert.rejects(c.find({ text: { $regex: ".{1000}".repeat(100) } }).toArray(), {
    code: 51156,
  });
  // Each match is one character, and looks at all of the rest.
  await c.insertOne({ _id: "as", as: "a".repeat(300_000), many: "a".repeat(2_000_000) });
  const all = (input: string, regex: string) =>
    c.aggregate([{ $match: { _id: "as" } }, {
      $project: { n: { $size: { $regexFindAll: { input, regex } } } },
    }])
      .toArray();
  await assert.rejects(all("$as", "a.*b|a"), { code: 51156 });
  // More than the server's 64 MB of matches; on a slow machine it takes too long before.
  await assert.rejects(all("$many", "a"), ({ code }: Any) => code === 51151 || code === 51156);
  assert.equal((await all("$as", "a"))[0]!.n, 300_000);
  // What a usual pattern takes on all of that is no matter.
  assert.equal(await c.countDocuments({ text: { $regex: "(?i)^CA|ca$|^cb" } }), 30);
  await client.close();
});

Deno.test("what cannot be matched without backtracking is refused, and says so", async () => {
  await using store = await startStore({ port: 0 });
  const client = new MongoClient(store.url);
  const c = client.db("d").collection<Any>("c");
  await c.insertOne({ t: "a" });
  const cases: [string, RegExp][] = [
    ["(a)\\1", /a back-reference is not supported by the embedded store: \\1/],
    ["a(?=b)", /look-ahead but at the start of a pattern is not supported/],
    ["^(?=a)b|c", /look-ahead/],
    ["^" + "(?=a)".repeat(1000), /more than 20 look-aheads/],
    ["(?>a)", /an atomic group is not supported/],
    ["a{1,2000}", /invalid repeat count/],
    ["x".repeat(40_000), /too long/],
  ];
  for (const [pattern, message] of cases) {
    await assert.rejects(c.find({ t: { $regex: pattern } }).toArray(), { code: 51091, message });
  }
  const format = { $dateFromString: { dateString: "2020-01-01", format: "%Y(a+)+%m-%d" } };
  await assert.rejects(c.aggregate([{ $project: { d: format } }]).toArray(), { code: 238 });
  const partial = { partialFilterExpression: { t: new BSONRegExp("a") } };
  await assert.rejects(c.createIndex({ t: 1 }, partial), { code: 67 });
  await client.close();
});
