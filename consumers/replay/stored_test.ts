import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Binary, type Document, Long, MongoClient, ObjectId } from "mongodb";
import { eventually, layCable, startTool, unique } from "../../lib/testing.ts";
import { folder, setup } from "./testing.ts";

async function setupStored() {
  const test = await setup();
  const name = unique("db").replaceAll(".", "-");
  const client = new MongoClient(test.mongoUrl);
  test.owned.defer(async () => {
    await client.db(name).dropDatabase();
    await client.close();
  });
  const collection = client.db(name).collection<Document & { _id: string }>("events");
  const cable = test.owned.use(layCable(test.mongoUrl));
  const position = `${test.directory}/position`;
  return {
    ...test,
    collection,
    mongoCable: cable,
    args: ["--database", name, "--collection", "events"],
    stored: (...args: string[]) =>
      test.owned.use(startTool(folder, "replay", [
        ...["--from-mongo", "--database", name, "--collection", "events"],
        ...["--position", position, "--exchange", test.queue, ...args],
      ], { AMQP_URL: test.cable.url, MONGO_URL: cable.url })),
    position: async () => JSON.parse(await Deno.readTextFile(`${folder}/${position}`)),
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
}

const document = (_id: unknown, created: number, more: Record<string, unknown> = {}) => ({
  _id: _id as never,
  created: Long.fromNumber(created),
  message: `${_id}`,
  ...more,
});

Deno.test("what the Mongo consumer stored goes back with its key, headers and id, in order of its arrival", async () => {
  await using test = await setupStored();
  const object = new ObjectId();
  await test.collection.insertMany([
    document("late", 3000, { event: { a: 1 }, routingKey: "some.key" }),
    document(object, 1000, { publishedAt: new Date(500_000) }),
    document("b", 1000, {
      headers: { bytes: new Binary(Buffer.from([1, 0xff])), "x-attempts": 5 },
    }),
    document("a", 1000),
  ]);
  const { code, stderr } = await test.stored().ended();
  assert.equal(code, 0, stderr);
  const [a, b, second, late] = await test.drain(4);
  const ids = [a, b, late].map((message) => message!.properties.messageId);
  assert.deepEqual(ids, ["a", "b", "late"]);
  assert.deepEqual({ ...b!.properties.headers }, { bytes: Buffer.from([1, 0xff]) });
  assert.equal(second!.content.toString(), `${object}`);
  assert.equal(second!.properties.timestamp, 500);
  assert.match(second!.properties.messageId, /^[\da-f-]{36}$/);
  assert.equal(late!.fields.routingKey, "some.key");
  assert.equal(late!.properties.contentType, "application/json");
  assert.equal(a!.properties.contentType, "text/plain");

  await Deno.remove(`${folder}/${test.directory}/position`);
  assert.equal((await test.stored().ended()).code, 0);
  const again = await test.drain(4);
  assert.equal(again[2]!.properties.messageId, second!.properties.messageId);
});

Deno.test("--from-mongo goes on after the last document, also among those of the same moment", async () => {
  await using test = await setupStored();
  const ids = [1, 2, "a", "b", new ObjectId(), new ObjectId()];
  await test.collection.insertMany(ids.map((_id) => document(_id, 1000)));
  await test.collection.updateOne({ _id: "b" }, { $set: { message: 7 } });
  const first = await test.stored().ended();
  assert.equal(first.code, 1);
  assert.match(first.stderr, /^document "b": 'message' is no text\. The next run goes on there/);
  assert.deepEqual(await test.bodies(3), ["1", "2", "a"]);
  assert.deepEqual((await test.position()).at, { created: 1000, _id: "a" });
  await test.collection.updateOne({ _id: "b" }, { $set: { message: "b" } });
  const second = await test.stored().ended();
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(await test.bodies(3), ["b", `${ids[4]}`, `${ids[5]}`]);
  assert.match((await test.stored().ended()).stdout, /Nothing is left after /);
});

Deno.test("--from-mongo takes --where, --since, --until and --dry-run, and refuses what the Mongo consumer did not store", async () => {
  await using test = await setupStored();
  const day = (n: number) => Date.UTC(2026, 0, n);
  await test.collection.insertMany([1, 2, 3, 4].map((n) => document(`d${n}`, day(n))));
  const range = ["--since", "2026-01-02", "--until", "2026-01-04"];
  const dry = await test.stored(...range, "--where", '{"text":"d3"}', "--dry-run").ended();
  assert.equal(
    dry.stdout,
    `document "d3": exchange '${test.queue}', routing key '', id d3, 2 bytes\n` +
      " [x] Would replay 1 message, 1 left out\n",
  );
  // What is stored after the start may be what was just replayed.
  await test.collection.insertOne(document("later", Date.now() + 3_600_000));
  assert.match((await test.stored("--dry-run").ended()).stdout, /Would replay 4 messages\n$/);
  await test.collection.insertOne({ _id: "odd" });
  const { code, stderr } = await test.stored().ended();
  assert.equal(code, 1);
  assert.equal(stderr, `document "odd": 'created' is no number. Nothing was published\n`);
});

Deno.test("--from-mongo goes on when MongoDB is back, with nothing left out", async () => {
  await using test = await setupStored();
  const count = 4000;
  // The driver gets up to 16 MiB at a time: this is several times.
  const padding = "x".repeat(10_000);
  for (let n = 0; n < count; n += 500) {
    await test.collection.insertMany(
      Array.from({ length: 500 }, (_, m) => document(`${n + m}`, 1000 + n + m, { padding })),
    );
  }
  const replay = test.stored();
  await eventually(async () => {
    if (await test.probe.count(test.queue) < 200) throw new Error("not yet");
  });
  test.mongoCable.cut("down");
  await replay.seen(/Cannot read from MongoDB: .* Waiting until it can be done/);
  test.mongoCable.plug();
  const { code, stderr } = await replay.ended();
  assert.equal(code, 0, stderr);
  assert.equal(new Set(await test.bodies(count)).size, count);
});
