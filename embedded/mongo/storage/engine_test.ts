import assert from "node:assert/strict";
import { StorageError } from "../errors.ts";
import { Engine } from "./engine.ts";

const FULL = { name: "StorageError", codeName: "OutOfDiskSpace" };

function open(): { engine: Engine; rolledBack: () => number } {
  let count = 0;
  const engine = new Engine(undefined, () => count++);
  engine.define("CREATE TABLE t (a)");
  engine.flush();
  // The same error as that of a full disk, without a disk.
  engine.get("PRAGMA max_page_count = 20");
  return { engine, rolledBack: () => count };
}

const large = new Uint8Array(200_000);

Deno.test("run() that does not fit rolls back at once, and all who wrote in that turn learn it", async () => {
  const { engine, rolledBack } = open();
  const before = engine.rollbacks;
  engine.run("INSERT INTO t VALUES (?)", "small");
  const waits = engine.committed(before);
  assert.throws(() => engine.run("INSERT INTO t VALUES (?)", large), FULL);
  assert.equal(rolledBack(), 1);
  await assert.rejects(waits, FULL);
  assert.deepEqual(engine.all("SELECT a FROM t"), []);
  engine.run("INSERT INTO t VALUES (?)", "again");
  await engine.committed();
  assert.equal(engine.all("SELECT a FROM t").length, 1);
  engine.close();
});

Deno.test("committed() rejects when a transaction was rolled back since, though a later one is not", async () => {
  const { engine } = open();
  const before = engine.rollbacks;
  engine.run("INSERT INTO t VALUES (?)", "first statement");
  assert.throws(() => engine.run("INSERT INTO t VALUES (?)", large), FULL); // somebody else's
  engine.run("INSERT INTO t VALUES (?)", "second statement");
  await assert.rejects(engine.committed(before), FULL);
  await engine.committed(engine.rollbacks);
  engine.close();
});

Deno.test("a query that fails harms no transaction but the reader", async () => {
  const { engine, rolledBack } = open();
  engine.run("INSERT INTO t VALUES (1)");
  assert.throws(() => engine.all("SELECT * FROM nothing"), StorageError);
  await engine.committed(0);
  assert.equal(rolledBack(), 0);
  assert.equal(engine.all("SELECT a FROM t").length, 1);
  engine.close();
});
