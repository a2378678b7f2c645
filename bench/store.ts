/**
 * The embedded store through the official driver: documents inserted a second, and find and findAndModify on an index among 200,000
 * documents against the same without one.
 *
 * Run: `deno task store`
 * @module
 */
import { type Collection, MongoClient } from "mongodb";
import { median, startUp } from "./measure.ts";

const among = 200_000;
await using up = await startUp();
await using client = new MongoClient(up.mongoUrl);
const database = client.db("event-sink-bench");

for (let round = 1; round <= 3; round++) {
  const documents = Array.from({ length: 100_000 }, (_, number) => ({ number, text: "event" }));
  const started = performance.now();
  await database.collection("inserts").insertMany(documents);
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `insertMany, round ${round}: ${Math.round(documents.length / seconds).toLocaleString("en")}/s`,
  );
  await database.dropCollection("inserts");
}

const collection: Collection = database.collection("finds");
await collection.createIndex({ indexed: 1 });
const documents = Array.from({ length: among }, (_, number) => ({
  indexed: number,
  other: number,
}));
await collection.insertMany(documents);
const some = () => Math.floor(Math.random() * among);
const indexed = await times(500, () => collection.findOne({ indexed: some() }));
const scanning = await times(5, () => collection.findOne({ other: some() }));
const modified = await times(
  500,
  () => collection.findOneAndUpdate({ indexed: some() }, { $inc: { seen: 1 } }),
);
console.log(`find by an index among ${among}: ${indexed}; without one: ${scanning}`);
console.log(`findAndModify by an index: ${modified}`);

async function times(count: number, work: () => Promise<unknown>): Promise<string> {
  const taken: number[] = [];
  for (let number = 0; number < count; number++) {
    const started = performance.now();
    await work();
    taken.push(performance.now() - started);
  }
  return `${median(taken).toFixed(2)} ms`;
}
