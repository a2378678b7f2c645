/**
 * The event sink under trial: `send --file` and two consumers that store in MongoDB. What was reported as sent is stored once.
 * @module
 */
import { pause, within } from "@event-sink/lib";
import { root, type Running, start, startTool } from "../lib/testing.ts";
import type { Account, Setup, System, World } from "./world.ts";

/** Where its tools are, and where its messages go. */
export const folder = "consumers/mongo";
export const exchange = "clowder.metrics";
export const queue = "event.sink.mongo";

/** Lines of a file, and how many of them are sent per second. */
const LINES = 100;
const RATE = 100;
/** Lines that tell whether all flows: the broker gives some of them to each consumer. */
const PROBE = 20;
/** Milliseconds after which a `send` hangs: its own limits are 10 s for each outage and each confirm. */
const HANGS = 120_000;

/** The event sink. */
export const sink: Setup = {
  name: "sink",
  consumers: { [queue]: 2 },
  deadLetters: [`${queue}.dlq`],
  exchanges: [exchange],
  start: startSink,
};

function startSink(world: World): System {
  const { directory, mongo, violated } = world;
  const collection = mongo.db("clowder").collection("eventsink.messages");
  for (const number of [1, 2]) {
    const name = `recv ${number}`;
    const env = { AMQP_URL: world.amqpUrl(name), MONGO_URL: world.mongoUrl(name) };
    world.start(name, () => startTool(folder, "recv", [], env));
  }
  const sender = sendPart(world);
  /** Lines of which the broker has all, as `send` said, and lines of which nobody knows. */
  const sent = new Set<string>();
  const unknown = new Set<string>();
  let batches = 0;

  /** Sends a file and returns its lines' ids that were reported as sent, in order. */
  async function sendFile(lines: number): Promise<string[]> {
    const batch = ++batches;
    const file = `${directory}/${batch}.ndjson`;
    const left = `${directory}/${batch}.unsent`;
    const ids = Array.from({ length: lines }, (_, index) => `${batch}.${index + 1}`);
    await Deno.writeTextFile(file, ids.map((id) => lineOf(id) + "\n").join(""));
    ids.forEach((id) => unknown.add(id));
    const args = ["--file", file, "--unsent", left, "--rate", `${RATE}`];
    const { code, stdout, stderr, hung } = await sender.run(args);
    if (hung) violated(`send hangs: ${stderr}`);
    const reported = Number(/^ \[x\] Sent (\d+) message/m.exec(stdout)?.[1] ?? 0);
    const unsent = code === 0 ? [] : await idsOf(left);
    // Killed, or stopped before it began: it has reported nothing.
    if (reported === 0) return [];
    const done = ids.filter((id) => !unsent.includes(id));
    if (done.length !== reported) {
      violated(
        `send reports ${reported} of ${lines} as sent, and leaves ${unsent.length}: ${stderr.trim()}`,
      );
    }
    for (const id of done) {
      sent.add(id);
      unknown.delete(id);
    }
    await Deno.remove(file);
    return done;
  }

  return {
    async load(signal) {
      while (!signal.aborted) {
        await sendFile(LINES);
        await pause(200, signal).catch(() => {});
      }
    },
    async probe(signal) {
      while (!signal.aborted) {
        const ids = await sendFile(PROBE);
        while (ids.length === PROBE && !signal.aborted) {
          const stored = { "event.id": { $in: ids } };
          if (await collection.countDocuments(stored).catch(() => 0) === PROBE) return;
          await pause(100);
        }
      }
    },
    progress: () => collection.estimatedDocumentCount(),
    async check(): Promise<Account> {
      const times = new Map<string, number>();
      for await (const { event } of collection.find().project({ "event.id": 1 })) {
        times.set(event.id, (times.get(event.id) ?? 0) + 1);
      }
      const twice = [...times].filter(([, count]) => count > 1).map(([id]) => `${id} twice`);
      const strange = [...times.keys()].filter((id) => !sent.has(id) && !unknown.has(id));
      return {
        accepted: sent.size,
        missing: [...sent].filter((id) => !times.has(id)),
        excess: [...twice, ...strange],
      };
    },
  };
}

/** Bodies of different sizes, some of more than one frame. */
export function lineOf(id: string): string {
  const number = Number(id.split(".")[1]);
  const size = number % 100 === 50 ? 50_000 : (number * 37) % 500;
  return JSON.stringify({ id, body: "x".repeat(size) });
}

/** The ids of the lines that `send --unsent` has left in a file. */
export async function idsOf(file: string): Promise<string[]> {
  try {
    const text = (await Deno.readTextFile(file)).trim();
    await Deno.remove(file);
    return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line).id);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []; // it did not come that far
    throw error;
  }
}

/** Starts the sink's `send` in a folder: its task may write below that. */
export function startSend(
  args: string[],
  options: { cwd: string; env: Record<string, string> },
): Running {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${root}${folder}/deno.json`));
  const [, ...words] = (tasks.send as string).replace("send.ts", `${root}${folder}/send.ts`)
    .split(" ");
  return start([...words, ...args], options);
}

/** `send`, which ends by itself, as something to kill while it runs. */
function sendPart(world: World) {
  const env = { AMQP_URL: world.amqpUrl("send") };
  let running: Running | undefined;
  const kill = (signal: Deno.Signal) => {
    try {
      running?.kill(signal);
    } catch {
      // It has ended.
    }
  };
  world.transient.set("send", {
    kill: () => kill("SIGKILL"),
    async stop(ms) {
      kill("SIGSTOP");
      await pause(ms);
      kill("SIGCONT");
    },
  });
  return {
    async run(args: string[]) {
      await using process = startSend(args, { cwd: world.directory, env });
      running = process;
      const hung = await within(HANGS, process.status) === undefined;
      running = undefined;
      const { code } = hung ? { code: 1 } : await process.status;
      return { code, hung, ...process.output };
    },
  };
}
