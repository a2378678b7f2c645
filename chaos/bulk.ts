/**
 * A large file through `send --file` and two Mongo consumers: what goes in while nodes of a cluster are killed.
 * @module
 */
import type { Publisher } from "@event-sink/lib";
import { MongoClient } from "mongodb";
import { startTool } from "../lib/testing.ts";
import { type Part, startPart } from "./part.ts";
import { exchange, folder, idsOf, lineOf, startSend } from "./sink.ts";
import type { Account } from "./world.ts";

/** The load. Dispose it to end its processes. */
export interface Bulk extends AsyncDisposable {
  /** How many consumers there are. */
  readonly consumers: number;
  /** What its processes wrote. */
  readonly parts: Pick<Part, "name" | "log">[];
  /** Whether `send` has ended. */
  readonly over: boolean;
  /** How many documents are stored. */
  stored(): Promise<number>;
  /** Publishes a message for the same queue; resolves when it is confirmed. */
  probe(): Promise<string>;
  /** Whether the message of a probe is stored. */
  arrived(id: string): Promise<boolean>;
  /** What was confirmed, and what is stored of it. */
  check(): Promise<Account>;
}

/** How to start it. */
export interface BulkOptions {
  amqpUrl: string;
  mongoUrl: string;
  /** Publishes the probes. */
  publisher: Publisher;
  /** How many lines the file has, and how many are sent per second. */
  messages: number;
  rate: number;
  violated: (what: string) => void;
}

/** Seconds for which `send` waits: longer than any outage here, so that it never gives up. */
const PATIENCE = 600;

/** Starts consumers, and `send` when they are ready. */
export async function startBulk(options: BulkOptions): Promise<Bulk> {
  const { amqpUrl, mongoUrl, publisher, messages, rate, violated } = options;
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "chaos-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const mongo = new MongoClient(mongoUrl);
  stack.defer(() => mongo.close());
  const collection = mongo.db("clowder").collection("eventsink.messages");
  const env = { AMQP_URL: amqpUrl, MONGO_URL: mongoUrl, QUEUE_TYPE: "quorum" };
  const consumers = [1, 2].map((number) =>
    stack.use(startPart({
      name: `recv ${number}`,
      spawn: () => startTool(folder, "recv", [], env),
      violated,
    }))
  );
  for (const { running } of consumers) await running.seen(/Waiting for messages/);

  const ids = Array.from({ length: messages }, (_, index) => `1.${index + 1}`);
  const file = await Deno.open(`${directory}/lines`, { write: true, createNew: true });
  const lines = ReadableStream.from(ids.map((id) => lineOf(id) + "\n"));
  await lines.pipeThrough(new TextEncoderStream()).pipeTo(file.writable);
  const confirmed = new Set<string>();
  const asked = new Set<string>();
  const words = ["--file", "lines", "--unsent", "unsent", "--rate", `${rate}`];
  const args = [...words, "--timeout", `${PATIENCE}`];
  const sending = stack.use(startSend(args, { cwd: directory, env }));
  let over = false;
  sending.status.then(async ({ code }) => {
    const { stdout, stderr } = sending.output;
    if (code !== 0) violated(`send has ended with ${code}: ${stderr.trim()}`);
    const reported = Number(/^ \[x\] Sent (\d+) message/m.exec(stdout)?.[1] ?? 0);
    const unsent = new Set(code === 0 ? [] : await idsOf(`${directory}/unsent`));
    const sent = reported === 0 ? [] : ids.filter((id) => !unsent.has(id));
    if (sent.length !== reported) {
      violated(`send reports ${reported} as sent, and leaves ${unsent.size} of ${messages}`);
    }
    sent.forEach((id) => confirmed.add(id));
    over = true;
  });
  const owned = stack.move();
  return {
    consumers: consumers.length,
    parts: [...consumers, { name: "send", log: () => sending.output.stderr }],
    get over() {
      return over;
    },
    stored: () => collection.estimatedDocumentCount(),
    async probe() {
      const id = `probe.${asked.size + 1}`;
      asked.add(id);
      const properties = { messageId: id };
      await publisher.publish({ exchange, routingKey: "", body: lineOf(id), properties });
      confirmed.add(id);
      return id;
    },
    arrived: async (id) => await collection.countDocuments({ _id: id as never }) > 0,
    async check() {
      const times = new Map<string, number>();
      for await (const { event } of collection.find().project({ "event.id": 1 })) {
        times.set(event.id, (times.get(event.id) ?? 0) + 1);
      }
      const twice = [...times].filter(([, count]) => count > 1).map(([id]) => `${id} twice`);
      const known = new Set([...ids, ...asked]);
      return {
        accepted: confirmed.size,
        missing: [...confirmed].filter((id) => !times.has(id)),
        excess: [...twice, ...[...times.keys()].filter((id) => !known.has(id))],
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
