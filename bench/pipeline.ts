/**
 * The pipeline on RabbitMQ, all four services with processors that do no work: objects a second, against the same four roles in Python in the
 * usual tutorial way; the latency of an object from POST to the last TASK_FINISHED in statistics at 100 objects/s; POST requests a second.
 *
 * It uses the pipeline's own queues: run it on a broker for tests.
 *
 * Run: `deno task pipeline [COUNT] [COUNT OF THE OTHER]`
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { compare, rabbitUrl, remove, root, taskArgs } from "./measure.ts";

const count = Number(Deno.args[0] ?? 10_000);
const few = Number(Deno.args[1] ?? 100);
const directory = await Deno.makeTempDir();
const decoder = new TextDecoder();

/** Starts a process and returns what waits for a line of its output. */
function start(command: string, args: string[], cwd = root) {
  const child = new Deno.Command(command, {
    args,
    cwd,
    env: { AMQP_URL: rabbitUrl },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let output = "";
  let news = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const chunk of child.stdout) {
      // What is printed per message is not kept.
      output = (output + decoder.decode(chunk)).slice(0, 1000) + decoder.decode(chunk).slice(-100);
      news.resolve();
      news = Promise.withResolvers();
    }
  })();
  return {
    async seen(pattern: RegExp): Promise<string> {
      while (true) {
        const match = pattern.exec(output);
        if (match) return match[0];
        await news.promise;
      }
    },
    async stop() {
      child.kill("SIGTERM");
      await child.status;
      await reading;
    },
  };
}

function service(name: string, ...args: string[]) {
  const folder = `${root}pipeline`;
  return start(Deno.execPath(), [...taskArgs("pipeline", name), ...args], folder);
}

async function stopAll(processes: { stop(): Promise<void> }[]) {
  for (const process of processes) await process.stop();
}

async function until(check: () => boolean) {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const queues = ["distributor_consume", "process_consume", "statistics"];
await remove(rabbitUrl, ...queues);
const statsFile = `${directory}/stats.db`;
const datagen = service("datagen", "--port", "0", "--database", `${directory}/objects.db`);
const services = [
  datagen,
  service("statistics", "--database", statsFile),
  service("distributor"),
  service("processor", "--work", "0", "--concurrency", "300"),
];
const [, ...consumers] = services;
for (const consumer of consumers) await consumer.seen(/ \[\*\] .*CTRL\+C/);
const url = `${await datagen.seen(/http:\/\/127\.0\.0\.1:\d+/)}/api/objects`;
const post = async (query = "") => await (await fetch(url + query, { method: "POST" })).json();
const database = new DatabaseSync(statsFile, { readOnly: true });
const finished = database.prepare("SELECT count(finished) AS count FROM tasks");
const finishedTasks = () => Number(finished.get()!.count);

// Objects a second: of the two roles that make them, ours has an HTTP interface and a database besides.
for (let round = 1; round <= 2; round++) {
  const before = finishedTasks();
  const started = performance.now();
  for (let posted = 0; posted < count; posted += 100) await post("?count=100");
  await until(() => finishedTasks() === before + 3 * count);
  const ours = (performance.now() - started) / 1000;
  compare(
    `objects through all four services, round ${round}`,
    ["ours", count / ours],
    ["pika", few / await pikaSeconds()],
  );
}

// Latency.
const latencies: number[] = [];
const ofObject = database.prepare(
  "SELECT count(finished) AS count FROM tasks WHERE id IN (?1 || '.1', ?1 || '.2', ?1 || '.3')",
);
const started = performance.now();
const waiting: Promise<void>[] = [];
for (let number = 0; number < 1000; number++) {
  const early = started + 10 * number - performance.now();
  if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
  waiting.push((async () => {
    const posted = performance.now();
    const { id } = await post();
    await until(() => ofObject.get(id)!.count === 3);
    latencies.push(performance.now() - posted);
  })());
}
await Promise.all(waiting);
latencies.sort((a, b) => a - b);
const share = (part: number) => `${latencies[Math.floor(latencies.length * part)]!.toFixed(0)} ms`;
console.log(
  `POST to the last TASK_FINISHED counted, 100 objects/s: p50 ${share(0.5)}, p99 ${share(0.99)}`,
);

// Requests a second, alone with the relay of the outbox.
await stopAll(consumers);
const requests = 20_000;
const startedPosting = performance.now();
await Promise.all(Array.from({ length: 50 }, async () => {
  for (let number = 0; number < requests / 50; number++) await post();
}));
const rate = requests / (performance.now() - startedPosting) * 1000;
console.log(`POST /api/objects, 50 at a time: ${Math.round(rate).toLocaleString("en")} requests/s`);
await datagen.stop();
database.close();
await Deno.remove(directory, { recursive: true });
await remove(rabbitUrl, ...queues);

/** Seconds that the Python roles take. */
async function pikaSeconds(): Promise<number> {
  const exchange = "event-sink.bench.ebs";
  const names = ["distributor", "processor", "statistics"].map((role) => `${exchange}.${role}`);
  await remove(rabbitUrl, ...names);
  const file = await Deno.makeTempFile({ dir: directory });
  const role = (name: string, ...args: string[]) =>
    start("/usr/bin/python3", [`${root}bench/pika_pipeline.py`, name, rabbitUrl, ...args]);
  const statistics = role("statistics", file, `${3 * few}`);
  const roles = [statistics, role("processor"), role("distributor")];
  for (const role of roles) await role.seen(/ready/);
  const started = performance.now();
  roles.push(role("datagen", `${few}`));
  await statistics.seen(/done/);
  const seconds = (performance.now() - started) / 1000;
  await stopAll(roles.slice(0, 3));
  await remove(rabbitUrl, ...names);
  return seconds;
}
