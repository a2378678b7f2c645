import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { MongoClient } from "mongodb";
import { until } from "../contract/harness.ts";
import { startStore } from "../mod.ts";

const MIB = 1024 * 1024;

async function sizeOf(file: string): Promise<number> {
  let size = 0;
  for (const name of [file, `${file}-wal`]) size += (await Deno.stat(name)).size;
  return size;
}

/** Work on a store with 64 MiB of documents, three quarters of which are then deleted. */
async function deleted(
  prepare: (file: string) => void,
  check: (file: string, client: MongoClient) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/store.sqlite`;
    prepare(file);
    await using store = await startStore({ port: 0, file });
    const client = new MongoClient(store.url);
    const db = client.db("d");
    for (const name of ["a", "b"]) {
      for (let batch = 0; batch < 8; batch++) {
        const documents = Array.from(
          { length: 400 },
          (_, n) => ({ half: n % 2, text: "x".repeat(10_000) }),
        );
        await db.collection(name).insertMany(documents);
      }
    }
    assert.ok(await sizeOf(file) > 60 * MIB);
    await db.collection("a").deleteMany({ half: 0 });
    await db.collection("b").drop();
    await check(file, client);
    assert.equal(await db.collection("a").countDocuments({ half: 1 }), 1600);
    await client.close();
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("deleted documents and dropped collections give their space back to the disk", () =>
  deleted(() => {}, async (file, client) => {
    const full = await sizeOf(file);
    let answered = 0;
    await until("the file shrinks", async () => {
      await client.db("d").command({ ping: 1 });
      const size = await sizeOf(file);
      if (size < full) answered++;
      return size < 40 * MIB;
    }, 30_000);
    assert.ok(answered > 20, `${answered} requests were answered while it shrank`);
  }));

Deno.test("a file of an earlier version, which cannot shrink, can after it was rewritten as the README says", () =>
  deleted((file) => {
    const db = new DatabaseSync(file);
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE old (a); DROP TABLE old");
    db.close();
    // Not here: `VACUUM` needs all permissions.
    const program = `import { DatabaseSync } from "node:sqlite";
      new DatabaseSync(Deno.args[0]).exec("PRAGMA auto_vacuum = INCREMENTAL; VACUUM");`;
    const { success } = new Deno.Command(Deno.execPath(), { args: ["eval", program, file] })
      .outputSync();
    assert.ok(success);
  }, async (file) => {
    await until("the file shrinks", async () => await sizeOf(file) < 40 * MIB, 30_000);
  }));
