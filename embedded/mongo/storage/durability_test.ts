/** What was acknowledged is there after `kill -9`. @module */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { until } from "../contract/harness.ts";
import { startStore } from "../mod.ts";

const PROGRAM = `
import { startStore } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
const store = await startStore({ port: 0, file: Deno.args[0] });
console.log(store.port);
`;

const ROUNDS = 50;

interface Running {
  child: Deno.ChildProcess;
  url: string;
}

async function spawnStore(program: string, file: string): Promise<Running> {
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--config", config, "-A", program, file],
    stdout: "piped",
    stderr: "inherit",
    stdin: "null",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let line = "";
  while (!line.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The store ended before it was ready");
    line += value;
  }
  await reader.cancel();
  return { child, url: `mongodb://localhost:${line.trim()}` };
}

async function kill({ child }: Running): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
}

Deno.test("kill -9 under load, 50 times over, loses nothing that was acknowledged", async () => {
  const directory = await Deno.makeTempDir();
  const program = `${directory}/store.ts`;
  const file = `${directory}/store.db`;
  await Deno.writeTextFile(program, PROGRAM);
  const acknowledged = new Set<string>();
  const updated = new Map<string, number>();
  const removed = new Set<string>();
  const removing = new Set<string>(); // asked for; done or not when the store died
  const errors: unknown[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const store = await spawnStore(program, file);
      const client = new MongoClient(store.url, { serverSelectionTimeoutMS: 2000 });
      // deno-lint-ignore no-explicit-any
      const c = client.db("d").collection<any>("c");
      await c.createIndex({ n: 1 });
      await c.createIndex({ key: 1 }, { unique: true });
      const before = acknowledged.size;
      const enough = Math.floor(Math.random() * 300);
      let alive = true;
      const writer = async (name: string) => {
        for (let i = 0; alive; i++) {
          const batch = Array.from({ length: 1 + i % 20 }, (_, j) => `${round}-${name}-${i}-${j}`);
          try {
            await c.insertMany(batch.map((_id) => ({ _id, n: i, key: _id })));
            for (const id of batch) acknowledged.add(id);
            await c.updateOne({ _id: batch[0] }, { $set: { n: -i } });
            updated.set(batch[0]!, -i);
            if (i % 3 === 0 && batch[1]) {
              removing.add(batch[1]);
              await c.deleteOne({ key: batch[1] });
              removed.add(batch[1]);
            }
          } catch (error) {
            if (alive) errors.push(error);
            return;
          }
        }
      };
      const writers = ["a", "b", "c"].map(writer);
      await until(
        "acknowledged writes",
        () => acknowledged.size > before + enough || errors.length > 0,
      );
      alive = false; // what fails from now on was not acknowledged
      await kill(store);
      await Promise.all(writers);
      await client.close(true);
      assert.deepEqual(errors, []);
    }
    await using store = await startStore({ port: 0, file });
    const client = new MongoClient(store.url);
    // deno-lint-ignore no-explicit-any
    const docs = await client.db("d").collection<any>("c").find().toArray();
    const found = new Map(docs.map((doc) => [doc._id, doc]));
    for (const id of acknowledged) {
      if (!removing.has(id)) assert.ok(found.has(id), `${id} is lost`);
    }
    for (const [id, n] of updated) {
      if (!removing.has(id)) assert.equal(found.get(id)?.n, n, `the update of ${id} is lost`);
    }
    for (const id of removed) assert.ok(!found.has(id), `${id} came back`);
    // The indexes agree with the documents.
    // deno-lint-ignore no-explicit-any
    const c = client.db("d").collection<any>("c");
    assert.equal((await c.find({ key: { $gte: "" } }).toArray()).length, docs.length);
    assert.equal((await c.find({ n: { $gt: -1e9 } }).toArray()).length, docs.length);
    assert.equal((await c.indexes()).length, 3);
    await client.close();
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("what is in a file is there when the store is started again, in order", async () => {
  const file = await Deno.makeTempFile();
  try {
    for (let round = 0; round < 3; round++) {
      await using store = await startStore({ port: 0, file });
      const client = new MongoClient(store.url);
      // deno-lint-ignore no-explicit-any
      const c = client.db("d").collection<any>("c");
      const ids = (await c.find().toArray()).map((doc) => doc._id);
      assert.deepEqual(ids, Array.from({ length: round }, (_, i) => 100 - i));
      assert.equal(await c.countDocuments(), round);
      await c.insertOne({ _id: 100 - round });
      await client.close();
    }
  } finally {
    await Deno.remove(file).catch(() => {});
    for (const end of ["-wal", "-shm"]) await Deno.remove(file + end).catch(() => {});
  }
});

Deno.test("a port in use and a file in use are refused with a clear error", async () => {
  await using store = await startStore({ port: 0 });
  await assert.rejects(startStore({ port: store.port }), {
    message: new RegExp(`^Cannot listen on 127\\.0\\.0\\.1:${store.port}: `),
  });
  await assert.rejects(startStore({ hostname: "0.0.0.0", port: 0 }), {
    message: /^Cannot listen on 0\.0\.0\.0:0: /,
  });
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/store.db`;
    await using _other = await startStore({ port: 0, file });
    await assert.rejects(startStore({ port: 0, file }), {
      message: /another process has it open/,
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test({
  name:
    "the files of the data are for their owner only, whatever the umask, and those of earlier versions too",
  ignore: Deno.build.os === "windows",
  async fn() {
    const directory = await Deno.makeTempDir();
    const before = Deno.umask(0);
    try {
      const file = `${directory}/store.db`;
      const modes = async () => {
        const all: Record<string, number> = {};
        for await (const { name } of Deno.readDir(directory)) {
          all[name] = (await Deno.stat(`${directory}/${name}`)).mode! & 0o777;
        }
        return all;
      };
      for (const umask of [0, 0o022, 0o777]) {
        Deno.umask(umask);
        await using store = await startStore({ port: 0, file });
        const client = new MongoClient(store.url);
        await client.db("d").collection("c").insertOne({});
        const found = await modes();
        assert.deepEqual(
          found,
          Object.fromEntries(Object.keys(found).map((name) => [name, 0o600])),
        );
        assert.ok(Object.keys(found).includes("store.db-wal"));
        await client.close();
        if (umask === 0) await Deno.chmod(file, 0o644);
        else await Deno.remove(file);
      }
    } finally {
      Deno.umask(before);
      await Deno.remove(directory, { recursive: true });
    }
  },
});
