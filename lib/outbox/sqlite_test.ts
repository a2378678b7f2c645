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
    const results = [1, 2, 1, 3].map((id) => write(() => Number(insert.run(id).changes)));
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
    const large = write(() => void insert.run(4), 2 ** 25);
    assert.deepEqual(stored(), [1, 2, 3, 4]);
    await large;
    await write(() => void insert.run(5));
    assert.deepEqual(stored(), [1, 2, 3, 4, 5]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("groupCommits() waits once for a database that is locked, not once for each write", async () => {
  const directory = await Deno.makeTempDir();
  try {
    using database = openDatabase(`${directory}/x.db`, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    using other = openDatabase(`${directory}/x.db`, "");
    database.exec("PRAGMA busy_timeout = 100");
    const write = groupCommits(database);
    other.exec("BEGIN IMMEDIATE");
    const started = performance.now();
    const results = await Promise.allSettled(
      Array.from({ length: 50 }, () => write(() => database.exec("INSERT INTO t VALUES (null)"))),
    );
    assert(performance.now() - started < 2000);
    for (const result of results) {
      assert(result.status === "rejected");
      assert.match(result.reason.message, /database is locked/);
    }
    other.exec("ROLLBACK");
    await write(() => database.exec("INSERT INTO t VALUES (null)"));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("openDatabase() keeps a database to its user, and leaves any other file as it is", async () => {
  const directory = await Deno.makeTempDir();
  const mode = async (name: string) => ((await Deno.stat(`${directory}/${name}`)).mode! & 0o777);
  try {
    await Deno.writeTextFile(`${directory}/text`, "no database, and everybody may read it", {
      mode: 0o644,
    });
    await Deno.chmod(`${directory}/text`, 0o644);
    assert.throws(
      () => openDatabase(`${directory}/text`, ""),
      /^Error: Cannot open the database '.*\/text': file is not a database$/,
    );
    assert.equal(await mode("text"), 0o644);
    openDatabase(`${directory}/x.db`, "CREATE TABLE t (id INTEGER PRIMARY KEY)").close();
    await Deno.chmod(`${directory}/x.db`, 0o644); // as earlier versions left it
    using _database = openDatabase(`${directory}/x.db`, "INSERT INTO t VALUES (null)");
    for (const name of ["x.db", "x.db-wal", "x.db-shm"]) assert.equal(await mode(name), 0o600);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
