/**
 * The reactor under trial: router with its journal, subscriber, two workers; events come by `fire` and from a queue. Each accepted event has one
 * result of each of its two handlers.
 * @module
 */
import { Buffer } from "node:buffer";
import { pause } from "@event-sink/lib";
import { startTool } from "../lib/testing.ts";
import { freePort } from "./servers.ts";
import type { Account, Setup, System, World } from "./world.ts";

const exchange = "chaos.notifications";
const queue = "chaos.events";
const key = "notifications.info";
const database = "chaos-reactor";

/** Milliseconds between two events that are fired, and events of one message batch. */
const INTERVAL = 1000;
const BATCH = 5;

/** The reactor. */
export const reactor: Setup = {
  name: "reactor",
  consumers: { [queue]: 1 },
  deadLetters: [`${queue}.dlq`],
  exchanges: [exchange],
  start,
};

async function start(world: World): Promise<System> {
  const { directory, mongo } = world;
  const db = mongo.db(database);
  const ports = { pull: freePort(), rep: freePort(), pub: freePort() };
  const uri = (port: number) => `tcp://127.0.0.1:${port}`;
  const handlers = `${directory}/handlers`;
  await Deno.mkdir(handlers);
  await Deno.writeTextFile(`${handlers}/mod.ts`, "export const f = (event) => event.payload;");
  const filters = `${directory}/filters.json`;
  const entries = [{ driver: "func", handler: "mod.f" }, { driver: "shell", handler: "true" }];
  await Deno.writeTextFile(
    filters,
    JSON.stringify({ "local:chaos": entries, "amqp:chaos": entries }),
  );
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, JSON.stringify(configOf(world.amqpUrl("router"), ports)));

  const tool = (name: string, task: string, ...args: string[]) => {
    const env = { MONGO_URL: world.mongoUrl(name) };
    return world.start(name, () => startTool("reactor", task, ["-c", config, ...args], env));
  };
  const router = tool("router", "router");
  await router.running.seen(/Routing events/);
  const published = world.cableTo(uri(ports.pub), "sub to router");
  // It begins with what comes after its first start.
  await tool("sub", "sub", "-e", filters, "-u", published).running.seen(/Waiting for events/);
  // A worker that is killed costs the task that it holds an attempt.
  const limits = ["--lease", "5", "--max-attempts", "20"];
  for (const name of ["worker 1", "worker 2"]) {
    tool(name, "worker", "--event-handlers", handlers, ...limits);
  }

  /** Events that the router, or the broker, has said to have. */
  const accepted = new Set<string>();
  let count = 0;

  async function fire(): Promise<string | undefined> {
    const id = `fired ${++count}`;
    const args = ["-u", uri(ports.rep), "-e", "chaos", "-d", JSON.stringify(id), "--timeout", "5"];
    await using process = startTool("reactor", "fire", args);
    const { code } = await process.status;
    if (code !== 0) return;
    accepted.add(id);
    return id;
  }
  /** Publishes events; they are accepted when all are confirmed. */
  async function publish(): Promise<string[]> {
    const ids = Array.from({ length: BATCH }, () => `published ${++count}`);
    try {
      await world.onBroker(async (channel) => {
        const confirmed = ids.map((id) => {
          const body = Buffer.from(JSON.stringify({ event_type: "chaos", payload: id }));
          const options = { persistent: true, mandatory: true, messageId: id };
          return new Promise<void>((resolve, reject) => {
            channel.once("return", () => reject(new Error("there is no queue")));
            // deno-lint-ignore no-explicit-any
            (channel as any).publish(
              exchange,
              key,
              body,
              options,
              (error: unknown) => error ? reject(error) : resolve(),
            );
          });
        });
        await Promise.all(confirmed);
      });
    } catch {
      return []; // perhaps some of them
    }
    ids.forEach((id) => accepted.add(id));
    return ids;
  }
  const results = db.collection<{ _id: string; status: string; data: unknown }>("task_collection");

  return {
    async load(signal) {
      const repeat = async (work: () => Promise<unknown>) => {
        while (!signal.aborted) {
          await work();
          await pause(INTERVAL, signal).catch(() => {});
        }
      };
      await Promise.all([repeat(fire), repeat(publish)]);
    },
    async probe(signal) {
      await Promise.all([fire, async () => (await publish())[0]].map(async (put) => {
        while (!signal.aborted) {
          const id = await put();
          while (id !== undefined && !signal.aborted) {
            const done = { status: "done", driver: "func", data: id };
            if (await results.countDocuments(done).catch(() => 0) > 0) return;
            await pause(200);
          }
          await pause(200);
        }
      }));
    },
    progress: () => results.estimatedDocumentCount(),
    async check(): Promise<Account> {
      type Row = { _id: number; event: string };
      const journal = await db.collection<Row>("journal").find().sort({ _id: 1 }).toArray();
      const journaled = new Set(journal.map(({ event }) => JSON.parse(event).payload));
      const expected = new Set(journal.flatMap(({ _id, event }) => {
        const { namespace } = JSON.parse(event);
        return [0, 1].map((index) => `sub ${_id} ${namespace}:chaos ${index}`);
      }));
      const found = await results.find().project({ status: 1 }).toArray();
      const done = new Set(found.filter(({ status }) => status === "done").map(({ _id }) => _id));
      const gap = journal.findIndex(({ _id }, index) => _id !== index + 1);
      return {
        accepted: accepted.size,
        missing: [
          ...gap < 0 ? [] : [`the journal's number ${gap + 1}`],
          ...[...accepted].filter((id) => !journaled.has(id)).map((id) => `${id} in the journal`),
          ...[...expected].filter((id) => !done.has(id)).map((id) => `result of ${id}`),
        ],
        excess: found.map(({ _id }) => `${_id}`).filter((id) => !expected.has(id)),
      };
    },
  };
}

function configOf(amqpUrl: string, ports: { pull: number; rep: number; pub: number }) {
  const feed = {
    ...{ url: amqpUrl, routing_key: key, exchange_type: "direct", queue_name: queue },
    bindings: [exchange],
  };
  const requests = { uri: `tcp://127.0.0.1:${ports.rep}`, type: "zmq.REP" };
  const local = { protocol: "tcp", host: "127.0.0.1" };
  return {
    feeds: {
      aggregator: { ...local, port: ports.pull, type: "zmq.PUSH" },
      feeders: [
        { namespace: "amqp", handler: "AMQPInput", config: feed },
        { namespace: "local", handler: "ZMQInput", config: requests },
      ],
    },
    outputs: [{
      handler: "zeromq",
      config: { protocol: "tcp", port: ports.pub, listen_address: "127.0.0.1", type: "zmq.PUB" },
    }],
    aggregator: {
      config: { listen_address: "127.0.0.1", port: ports.pull, protocol: "tcp", type: "zmq.PULL" },
    },
    celery: { ...local, protocol: "mongodb", database, task_collection: "task_collection" },
  };
}
