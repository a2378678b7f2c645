import assert from "node:assert/strict";
import { groupCommits, openDatabase } from "./sqlite.ts";

Deno.test("groupCommits() stores writes together, and of a group only what fails is not stored", async () => {
  const directory = await Deno.makeTempDir();
  try {
    using database = openDatabase(`${directory}/x.db`, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    using reader = openDatabase(`${directory}/x.db`, "");
    const stored = () => reader.prepare("SELECT id FROM t ORDER BY id").all().map(({ id }) => id);
    const write = groupCommits(database);
    const insert = database.prepare("INSERT INTO t VALUES (?)");
    const results = [1, 2, 1, 3].map((id) => write(1, () => void insert.run(id)));
    assert.deepEqual(stored(), []);
    const settled = await Promise.allSettled(results);
    assert.deepEqual(settled.map(({ status }) => status), [
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    assert.deepEqual(stored(), [1, 2, 3]);
    // One that is large is not kept waiting.
    const large = write(2 ** 25, () => void insert.run(4));
    assert.deepEqual(stored(), [1, 2, 3, 4]);
    await large;
    await write(1, () => void insert.run(5));
    assert.deepEqual(stored(), [1, 2, 3, 4, 5]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
