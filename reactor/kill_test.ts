import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import {
  eventually,
  layCable,
  root,
  type Running,
  start,
  startTool,
  unique,
} from "../lib/testing.ts";
import type { Result } from "./queue/result.ts";
import type { Task } from "./queue/task.ts";
import { freePort, hasPythonZmq, lines, python, sampleConfig } from "./testing/router.ts";

const EVENTS = 1000;

/** As a careful client does, it sends again when there is no answer: that event may then be accepted twice. */
const careful = `
import json, sys, zmq
context = zmq.Context()
def connect():
    socket = context.socket(zmq.REQ)
    socket.LINGER = 0
    socket.connect(sys.argv[1])
    return socket
socket = connect()
for id in range(int(sys.argv[2])):
    event = json.dumps({"event_type": "kill.test", "payload": id})
    sent = 1
    socket.send_string(event)
    while not socket.poll(3000):
        socket.close()
        socket = connect()
        socket.send_string(event)
        sent += 1
    print(json.dumps({"id": id, "sent": sent, "answer": socket.recv_json()}), flush=True)
`;

interface Sent {
  id: number;
  /** How often. */
  sent: number;
  answer: { number: number };
}

/** Something that can be killed, and started again as it was. */
interface Part {
  start(): unknown;
  kill(): unknown;
}

/** Router, sub, worker and store, each a process of its own; a real store is not killed, but its cable is cut. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const handlers = `${directory}/handlers`;
  await Deno.mkdir(handlers);
  await Deno.writeTextFile(`${handlers}/mod.ts`, "export const f = (event) => event.number;");
  // The number is the last member of the event that it gets.
  const script = '#!/bin/sh\nnumber=${1##*:}\necho "${number%\\}}" >>executed\n';
  await Deno.writeTextFile(`${handlers}/note.sh`, script);
  await Deno.chmod(`${handlers}/note.sh`, 0o755);
  const filters = `${directory}/filters.json`;
  const entries = [{ driver: "func", handler: "mod.f" }, { driver: "shell", handler: "./note.sh" }];
  await Deno.writeTextFile(filters, JSON.stringify({ "local:kill.test": entries }));

  const spawned: Running[] = [];
  stack.defer(async () => {
    for (const each of spawned) await each[Symbol.asyncDispose]();
  });
  function part(ready: RegExp, spawn: () => Running): Part {
    let running: Running;
    return {
      start() {
        running = spawn();
        spawned.push(running);
        return running.seen(ready);
      },
      kill() {
        running.kill("SIGKILL");
        return running.ended();
      },
    };
  }
  const real = Deno.env.get("MONGO_URL");
  const cable = real ? stack.use(layCable(real)) : undefined;
  const mongoUrl = cable?.url ?? `mongodb://127.0.0.1:${freePort()}`;
  const store: Part = cable
    ? { start: () => cable.plug(), kill: () => cable.cut("down") }
    : part(/^MONGO_URL=/m, () => {
      const [, ...words] = JSON.parse(Deno.readTextFileSync(`${root}deno.json`)).tasks.up.split(
        " ",
      );
      const port = new URL(mongoUrl).port;
      return start([
        ...words,
        "--data",
        `${directory}/data`,
        "--amqp-port",
        "0",
        "--mongo-port",
        port,
      ]);
    });

  const database = unique("kill").replaceAll(".", "-");
  const ports = { pull: freePort(), rep: freePort(), pub: freePort() };
  const config = `${directory}/config.json`;
  await Deno.writeTextFile(config, JSON.stringify(sampleConfig({ ...ports, mongoUrl, database })));
  const uri = (port: number) => `tcp://127.0.0.1:${port}`;
  const env = { MONGO_URL: "" };
  const tool = (name: string, ...args: string[]) =>
    startTool("reactor", name, ["-c", config, ...args], env);
  const parts = {
    store,
    router: part(/Routing events/, () => tool("router")),
    sub: part(/Waiting for events/, () => tool("sub", "-e", filters, "-u", uri(ports.pub))),
    worker: part(
      /Waiting for tasks/,
      () => tool("worker", "--event-handlers", handlers, "--lease", "2"),
    ),
  };
  await store.start();
  await Promise.all([parts.router.start(), parts.sub.start(), parts.worker.start()]);
  const client = new MongoClient(real ?? mongoUrl);
  const db = client.db(database);
  stack.defer(async () => {
    if (real) await db.dropDatabase();
    await client.close();
  });
  const owned = stack.move();
  return {
    parts,
    journal: db.collection<{ _id: number; event: string }>("journal"),
    tasks: db.collection<Task>("tasks"),
    results: db.collection<Result>("task_collection"),
    /** The numbers that the shell handler has noted. */
    executed: async () =>
      lines(await Deno.readTextFile(`${handlers}/executed`)) as unknown as number[],
    send: () => owned.use(start(["-c", careful, uri(ports.rep), `${EVENTS}`], { command: python })),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test({
  name:
    "1,000 events while router, sub, worker and store are killed: each handler has its result once",
  ignore: !await hasPythonZmq(),
}, async () => {
  await using test = await setup();
  const { router, sub, worker, store } = test.parts;
  const client = test.send();
  // The moments are spread over the stream, the last is a power failure.
  const moments: [number, Part[]][] = [
    [100, [worker]],
    [250, [store]],
    [400, [sub]],
    [550, [router]],
    [700, [worker, sub]],
    [850, [store, router, sub, worker]],
  ];
  for (const [count, parts] of moments) {
    await client.seen(new RegExp(`^{"id": ${count},`, "m"));
    await Promise.all(parts.map((part) => part.kill()));
    await Promise.all(parts.map((part) => part.start()));
  }
  const { code, stdout, stderr } = await client.ended();
  assert.equal(code, 0, stderr);

  const journal = await test.journal.find().sort({ _id: 1 }).toArray();
  const numbers = journal.map(({ _id }) => _id);
  assert.deepEqual(numbers, journal.map((_, index) => index + 1), "numbers have no gaps");
  const events = Map.groupBy(
    journal.map(({ event }) => JSON.parse(event)),
    ({ payload }) => payload,
  );
  assert.equal(events.size, EVENTS);
  for (const { id, sent, answer } of lines(stdout) as unknown as Sent[]) {
    const accepted = events.get(id) ?? [];
    assert(accepted.length <= sent, `event ${id} was sent ${sent} times, accepted more often`);
    const answered = accepted.find(({ number }) => number === answer.number);
    assert.deepEqual(answer, answered, `what was answered to event ${id} is in the journal`);
  }

  const expected = numbers.flatMap((n) => [0, 1].map((at) => `sub ${n} local:kill.test ${at}`));
  await eventually(async () => {
    assert.equal(await test.tasks.countDocuments({ status: "done" }), expected.length);
  }, 30_000);
  const results = await test.results.find().toArray();
  assert.deepEqual(results.map(({ _id }) => _id).sort(), expected.toSorted());
  for (const { _id, status, driver, data, event } of results) {
    const { number } = event as { number: number };
    assert.deepEqual([status, data], ["done", driver === "func" ? number : ""], _id);
  }
  assert.equal(await test.tasks.countDocuments(), expected.length);
  const executed = new Set(await test.executed());
  assert.deepEqual([...executed].toSorted((a, b) => a - b), numbers, "executed at least once");
});
