/**
 * The reactor's worker against Celery, both with queue and results in the embedded store (or that of MONGO_URL): a `func` handler that
 * does nothing. And `shell` handlers against a loop that does nothing but spawn the same command.
 *
 * Run: `deno task worker [COUNT] [COUNT]`
 * @module
 */
import { MongoClient } from "mongodb";
import { addTasks } from "../reactor/queue/add.ts";
import { openCollections } from "../reactor/queue/collections.ts";
import { compare, root, startUp, taskArgs } from "./measure.ts";

const count = Number(Deno.args[0] ?? 20_000);
const commands = Number(Deno.args[1] ?? 1000);
const python = "/usr/bin/python3";
await using up = await startUp();
const mongoUrl = Deno.env.get("MONGO_URL") || up.mongoUrl;
const env = { MONGO_URL: mongoUrl };
await using client = new MongoClient(mongoUrl);
const directory = await Deno.makeTempDir();
await Deno.writeTextFile(`${directory}/noop.ts`, "export const noop = () => null;");
await Deno.writeTextFile(
  `${directory}/config.json`,
  JSON.stringify({ tasks: { database: "bench_reactor", task_collection: "results" } }),
);

/** Results per second, from the first that is there to the last. */
async function rate(
  [database, collection]: [string, string],
  count: number,
  [command, args, cwd]: [string, string[], string],
) {
  const results = client.db(database).collection(collection);
  const worker = new Deno.Command(command, { args, cwd, env, stdout: "null", stderr: "null" })
    .spawn();
  const until = async (enough: number) => {
    let there = 0;
    while ((there = await results.estimatedDocumentCount()) < enough) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return there;
  };
  const first = await until(1);
  const started = performance.now();
  await until(count);
  const seconds = (performance.now() - started) / 1000;
  worker.kill("SIGTERM");
  await worker.status;
  await client.db(database).dropDatabase();
  return (count - first) / seconds;
}

async function ours(driver: string, handler: string, count: number): Promise<number> {
  const collections = await openCollections(client.db("bench_reactor"), "results");
  const at = { namespace: "local", event_type: "zmq.test" };
  for (let start = 0; start < count; start += 1000) {
    await addTasks(
      collections,
      Array.from({ length: Math.min(1000, count - start) }, (_, index) => ({
        ...at,
        _id: `${start + index}`,
        event: JSON.stringify({ ...at, payload: { n: start + index } }),
        entry: { driver, handler },
      })),
    );
  }
  const args = ["-c", `${directory}/config.json`, "--event-handlers", directory];
  return await rate(["bench_reactor", "results"], count, [
    Deno.execPath(),
    [...taskArgs("reactor", "worker"), ...args],
    `${root}reactor`,
  ]);
}

async function celery(): Promise<number> {
  const options = { args: ["celery_noop.py", `${count}`], cwd: `${root}bench`, env };
  await new Deno.Command(python, options).output();
  const args = ["-m", "celery", "-A", "celery_noop", "worker", "--concurrency", "10"];
  const results: [string, string] = ["bench_celery_results", "celery_taskmeta"];
  const executed = await rate(results, count, [python, args, `${root}bench`]);
  await client.db("bench_celery").dropDatabase();
  return executed;
}

/** Spawns `true`, ten at a time as our worker does, and nothing else. */
async function spawns(): Promise<number> {
  const started = performance.now();
  let left = commands;
  await Promise.all(Array.from({ length: 10 }, async () => {
    while (left-- > 0) {
      await new Deno.Command("true", { args: ["{}"], cwd: directory }).output();
    }
  }));
  return commands / ((performance.now() - started) / 1000);
}

for (let round = 1; round <= 3; round++) {
  const executed = await ours("func", "noop.noop", count);
  compare(`func, round ${round}`, ["ours", executed], ["Celery", await celery()]);
  const spawned = await ours("shell", "true", commands);
  compare(`shell, round ${round}`, ["ours", spawned], ["bare loop", await spawns()]);
}
await Deno.remove(directory, { recursive: true });
