/**
 * A router as a real process, for the tests.
 * @module
 */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import {
  type Cable,
  layCable,
  type Running,
  start,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";
import type { ReactorEvent } from "../event.ts";
import type { Journal } from "../journal/journal.ts";

/** Debian's own Python, which sees Debian's packages whatever other Python a machine has. */
export const python = "/usr/bin/python3";

/** Whether Python has zmq; in CI it must. */
export async function hasPythonZmq(): Promise<boolean> {
  let success = false;
  try {
    const args = ["-c", "import zmq"];
    ({ success } = await new Deno.Command(python, { args, stderr: "null" }).output());
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (success) return true;
  if (Deno.env.get("CI")) assert.fail("python3-zmq is not installed");
  console.log("python3-zmq is not installed: not tested");
  return false;
}

/** A free port. It is below 32768: from there on Linux gives ports to outgoing connections, which might take it before it is used. */
export function freePort(): number {
  while (true) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      Deno.listen({ hostname: "0.0.0.0", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** The configuration of SYSTEMS.md. */
export function sampleConfig(
  { pull, rep, pub, amqpUrl, queue, exchanges, mongoUrl, database }: {
    pull: number;
    rep: number;
    pub: number;
    amqpUrl?: string;
    queue?: string;
    exchanges?: string[];
    mongoUrl?: string;
    database?: string;
  },
) {
  const mongo = mongoUrl && new URL(mongoUrl);
  return {
    feeds: {
      aggregator: { protocol: "tcp", host: "127.0.0.1", port: pull, type: "zmq.PUSH" },
      feeders: [
        {
          namespace: "openstack",
          handler: "AMQPInput",
          disabled: amqpUrl === undefined,
          config: {
            url: amqpUrl ?? "amqp://...",
            routing_key: "notifications.info",
            exchange_type: "direct",
            queue_name: queue ?? "events",
            bindings: exchanges ?? ["keystone", "nova"],
          },
        },
        {
          namespace: "local",
          handler: "ZMQInput",
          config: { uri: `tcp://*:${rep}`, type: "zmq.REP" },
        },
      ],
    },
    outputs: [{
      handler: "zeromq",
      config: { protocol: "tcp", port: pub, listen_address: "*", type: "zmq.PUB" },
    }],
    aggregator: {
      config: { listen_address: "*", port: pull, protocol: "tcp", type: "zmq.PULL" },
    },
    logging: { loglevel: "INFO" },
    ...mongo && {
      celery: {
        protocol: "mongodb",
        host: mongo.hostname,
        port: Number(mongo.port),
        database,
        task_collection: "task_collection",
        task_imports: ["eventworker.tasks"],
      },
    },
  };
}

/** Servers, a configuration on free ports, and clients in Python. */
export async function setup(
  options: {
    journal?: boolean;
    queue?: string;
    exchanges?: string[];
    /** Changes the configuration. */
    change?: (config: ReturnType<typeof sampleConfig> & Record<string, unknown>) => void;
  } = {},
) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const database = unique("reactor").replaceAll(".", "-");
  const ports = { pull: freePort(), rep: freePort(), pub: freePort() };
  let cable: Cable | undefined;
  if (options.journal) {
    cable = stack.use(layCable(servers.mongoUrl));
    stack.defer(async () => {
      await using client = new MongoClient(servers.mongoUrl);
      await client.db(database).dropDatabase();
    });
  }
  const config = await Deno.makeTempFile({ suffix: ".json" });
  stack.defer(() => Deno.remove(config));
  const { queue, exchanges } = options;
  const content = sampleConfig({
    ...ports,
    ...queue && { amqpUrl: servers.amqpUrl, queue, exchanges },
    ...cable && { mongoUrl: cable.url, database },
  });
  options.change?.(content);
  await Deno.writeTextFile(config, JSON.stringify(content));
  const uri = (port: number) => `tcp://127.0.0.1:${port}`;
  const owned = stack.move();
  const client = (script: string, ...args: string[]): Running =>
    owned.use(start(["-c", script, ...args], { command: python }));
  return {
    ...servers,
    config,
    database,
    ports,
    uri,
    cable: cable!,
    client,
    async router(...args: string[]): Promise<Running> {
      const flags = ["-c", config, ...args];
      const router = owned.use(startTool("reactor", "router", flags, { MONGO_URL: "" }));
      await router.seen(/Routing events/);
      return router;
    },
    fire: (...args: string[]) =>
      owned.use(startTool("reactor", "fire", ["-u", uri(ports.rep), ...args])).ended(),
    /** A subscriber that prints `count` events and ends; it is connected when this resolves. */
    async subscriber(count: number): Promise<Running> {
      const sub = client(subscribe, uri(ports.pub), uri(ports.pull), `${count}`);
      await sub.seen(/^subscribed$/m);
      return sub;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Pushes events until it receives one of them: then it is connected. After that it prints what it receives. */
const subscribe = `
import sys, zmq, json
context = zmq.Context()
sub = context.socket(zmq.SUB)
sub.RCVHWM = 0
sub.connect(sys.argv[1])
sub.subscribe(b"")
push = context.socket(zmq.PUSH)
push.connect(sys.argv[2])
while True:
    push.send_json({"event_type": "hello"})
    if sub.poll(100): break
while sub.poll(300): sub.recv()
print("subscribed", flush=True)
for _ in range(int(sys.argv[3])):
    print(sub.recv().decode(), flush=True)
`;

/** Pushes events, and ends when all of them are sent: without term() Python would not wait for that. */
export const push = `
import sys, zmq, json
socket = zmq.Context().socket(zmq.PUSH)
socket.connect(sys.argv[1])
for number in range(int(sys.argv[2])):
    socket.send_json({"namespace": "local", "event_type": "zmq.test", "payload": {"n": number}})
socket.close()
socket.context.term()
`;

/** Requests: a line of standard input each; \`@N\` stands for N bytes of x, \`a|b\` for two frames. Prints the answers. */
export const request = `
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.connect(sys.argv[1])
for line in sys.stdin.buffer.read().split(b"\\n"):
    frames = [b"x" * int(f[1:]) if f[:1] == b"@" else f for f in line.split(b"|")]
    socket.send_multipart(frames)
    print(socket.recv().decode(), flush=True)
`;

/** Reads lines of JSON. */
export const lines = (text: string) => text.trim().split("\n").map((line) => JSON.parse(line));

/** Appends events to a journal, and returns them with their numbers. */
export async function append(journal: Journal, events: ReactorEvent[]): Promise<ReactorEvent[]> {
  const heads = events.map(({ number: _, ...rest }) => JSON.stringify(rest).slice(0, -1));
  const numbers = await journal.append(heads);
  return events.map((event, index) => ({ ...event, number: numbers[index]! }));
}
