/**
 * The Mongo consumer against one that does one insert_one and one acknowledge per message with prefetch 1 (pika and pymongo): from a
 * full queue on RabbitMQ into the same store, the one of MONGO_URL or the embedded one.
 *
 * Run: `deno task mongo [COUNT] [COUNT OF THE OTHER]`
 * @module
 */
import { MongoClient } from "mongodb";
import { compare, fill, rabbitUrl, remove, root, startUp, taskArgs, time } from "./measure.ts";

const count = Number(Deno.args[0] ?? 100_000);
const few = Number(Deno.args[1] ?? count);
const queue = "event.sink.mongo.bench";
await using up = await startUp();
const mongoUrl = Deno.env.get("MONGO_URL") || up.mongoUrl;
await using client = new MongoClient(mongoUrl);
const database = client.db("event-sink-bench");
const collection = database.collection("ours");

for (let round = 1; round <= 2; round++) {
  await database.dropDatabase();
  await fill(rabbitUrl, queue, count);
  const folder = "consumers/mongo";
  const args = [
    ...taskArgs(folder, "recv"),
    "--queue",
    queue,
    "--database",
    database.databaseName,
    "--collection",
    "ours",
  ];
  const started = performance.now();
  const recv = new Deno.Command(Deno.execPath(), {
    args,
    cwd: root + folder,
    env: { AMQP_URL: rabbitUrl, MONGO_URL: mongoUrl },
    stdout: "null",
  }).spawn();
  while (await collection.estimatedDocumentCount() < count) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const ours = (performance.now() - started) / 1000;
  recv.kill("SIGTERM");
  await recv.status;

  await fill(rabbitUrl, queue, few);
  const pika = await time("/usr/bin/python3", [
    `${root}bench/pika_mongo.py`,
    rabbitUrl,
    mongoUrl,
    queue,
    `${few}`,
  ]);
  compare(`Mongo consumer, round ${round}`, ["ours", count / ours], ["insert_one", few / pika]);
}
await database.dropDatabase();
await remove(rabbitUrl, queue, `${queue}.dlq`);
