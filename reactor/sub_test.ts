import assert from "node:assert/strict";
import { Publisher } from "zeromq";
import { eventually, layCable, type Running, start, startTool } from "../lib/testing.ts";
import type { ReactorEvent } from "./event.ts";
import { openJournal } from "./journal/journal.ts";
import { append } from "./testing/router.ts";
import { setup as setupWorkers } from "./testing/worker.ts";

const filters = {
  "local:zmq.#": [{ driver: "func", handler: "mod.f" }, { driver: "shell", handler: "./x.sh 1" }],
};

/** What a router does, as far as a subscriber sees it, and subscribers when they are started. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const workers = stack.use(await setupWorkers({ "mod.ts": "export const f = () => 1;" }));
  const { directory, mongoUrl, config, db } = workers;
  const journal = await openJournal(db);
  const file = `${directory}/event-handlers.json`;
  await Deno.writeTextFile(file, JSON.stringify(filters));
  let publisher = new Publisher();
  await publisher.bind("tcp://127.0.0.1:0");
  const uri = publisher.lastEndpoint!;
  stack.defer(() => publisher.close());
  const owned = stack.move();
  const args = ["-c", config, "--event-handlers", `${directory}/handlers`, "-e", file, "-u", uri];
  const event = (event_type: string): ReactorEvent => ({
    namespace: "local",
    event_type,
    payload: {},
    timestamp: 1,
  });
  return {
    ...workers,
    file,
    uri,
    event,
    async sub(more: string[] = [], url = mongoUrl): Promise<Running> {
      const env = { MONGO_URL: url };
      const sub = owned.use(
        startTool("reactor", "sub", [...args, "--log-level", "debug", ...more], env),
      );
      if (more.includes("--explain")) return sub;
      await sub.seen(/Waiting for events/);
      await sub.seen(/Connected to tcp/);
      return sub;
    },
    accept: (count: number, type = "zmq.test") =>
      append(journal, Array.from({ length: count }, () => event(type))),
    async publish(events: unknown[]) {
      for (const each of events) {
        await publisher.send(each instanceof Uint8Array ? each : JSON.stringify(each));
      }
    },
    publishFrames: (frames: string[]) => publisher.send(frames),
    /** The router starts anew, at the same address. */
    async restart() {
      publisher.close();
      publisher = new Publisher();
      await eventually(() => publisher.bind(uri));
    },
    /** Waits until there are tasks for just these events, two for each. */
    async tasksFor(numbers: number[], name = "sub") {
      const expected = numbers.flatMap((n) =>
        [0, 1].map((index) => `${name} ${n} local:zmq.# ${index}`)
      );
      await eventually(async () => {
        const tasks = await workers.collections.tasks.find().toArray();
        assert.deepEqual(tasks.map(({ _id }) => _id).sort(), expected.sort());
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

Deno.test("sub makes a task for each entry that an event matches, and ignores what is no event", async () => {
  await using test = await setup();
  const sub = await test.sub();
  const [one, two] = await test.accept(2);
  const [other] = await test.accept(1, "other");
  await test.publish([one]);
  await test.tasksFor([1]);
  await test.publish([new Uint8Array([255, 254]), "no event", { event_type: 5 }]);
  await test.publishFrames(["{", "}"]);
  await test.publish([two, other]);
  await test.tasksFor([1, 2]);
  assert.equal(sub.output.stderr.match(/Ignored a message/g)?.length, 4, sub.output.stderr);
  const task = await test.collections.tasks.findOne({ _id: "sub 1 local:zmq.# 1" });
  assert.deepEqual(task?.entry, { driver: "shell", handler: "./x.sh 1" });
  assert.deepEqual(JSON.parse(task!.event), { ...test.event("zmq.test"), number: 1 });
  sub.kill("SIGTERM");
  assert.equal((await sub.ended()).code, 0);
});

Deno.test("sub fetches what it missed: in a gap, away, and while the router was", async () => {
  await using test = await setup();
  await test.accept(3); // before its name is known
  const sub = await test.sub();
  const events = await test.accept(5);
  await test.publish([events[1], events[1], events[4], events[2]]);
  await test.tasksFor(upTo(8, 4));
  sub.kill("SIGKILL");
  await sub.ended();
  await test.accept(700);
  const again = await test.sub();
  await test.tasksFor(upTo(708, 4));
  await test.restart();
  const [late] = await test.accept(1);
  await test.tasksFor(upTo(709, 4));
  await test.publish([late]);
  const silent = await test.accept(1); // dropped on its way, and nothing follows
  await test.tasksFor(upTo(710, 4));
  assert.equal(silent[0]!.number, 710);
  assert.doesNotMatch(again.output.stderr, /does not have/);
});

Deno.test("each name gets every event once, two subs of one name share them", async () => {
  await using test = await setup();
  const subs = [await test.sub(["--name", "a"]), await test.sub(["--name", "a"])];
  await test.publish(await test.accept(20));
  await test.tasksFor(upTo(20), "a");
  subs.forEach((sub) => sub.kill("SIGTERM"));
  for (const sub of subs) assert.equal((await sub.ended()).code, 0);
  await test.collections.tasks.deleteMany({});
  const from = await test.sub(["--name", "b", "--from-start"]);
  await test.tasksFor(upTo(20), "b");
  from.kill("SIGTERM");
});

Deno.test("sub takes each event of a router without a journal as it comes", async () => {
  await using test = await setup();
  await test.sub();
  await eventually(async () => {
    await test.publish([test.event("zmq.test")]);
    assert((await test.collections.tasks.countDocuments()) >= 4);
  });
});

Deno.test("sub waits while MongoDB is away", async () => {
  await using test = await setup();
  const sub = await test.sub([], test.cable.url);
  await test.publish(await test.accept(1));
  await test.tasksFor([1]);
  test.cable.cut("down");
  await test.publish(await test.accept(5));
  await sub.seen(/Cannot use MongoDB/);
  test.cable.plug();
  await test.tasksFor(upTo(6));
});

Deno.test("sub and worker: each event is handled once though both are killed in the middle", async () => {
  await using test = await setup();
  await test.write("x.sh", "#!/bin/sh\nexit 0\n");
  const first = await test.sub();
  const worker = await test.worker(["--lease", "2"]);
  const events = await test.accept(200);
  await test.publish(events.slice(0, 100));
  await eventually(async () => assert(await test.collections.results.countDocuments() > 20));
  first.kill("SIGKILL");
  worker.kill("SIGKILL");
  await Promise.all([first.ended(), worker.ended()]);
  await test.publish(events.slice(100));
  await test.sub();
  await test.worker(["--lease", "2"]);
  await eventually(async () => {
    const { results, tasks } = test.collections;
    assert.equal(await results.countDocuments({ status: "done" }), 400);
    assert.equal(await tasks.countDocuments({ status: "done" }), 400); // marked after its result
  }, 40_000);
});

Deno.test("sub stores an event as it came, though it would be longer when it is written anew", async () => {
  await using test = await setup();
  await test.sub();
  const payload = `[${Array(1_500_000).fill("1e20").join()}]`;
  const text = (number: number) =>
    `{"namespace":"local","event_type":"zmq.test","timestamp":1,"payload":${payload},"number":${number}}`;
  const rows = test.db.collection<{ _id: number; event: string }>("journal");
  await rows.insertOne({ _id: 1, event: text(1) });
  await test.publish([new TextEncoder().encode(text(2))]);
  await test.tasksFor([1, 2]);
  const tasks = await test.collections.tasks.find().sort({ _id: 1 }).toArray();
  assert.deepEqual(tasks.map(({ event }) => event === text(1) || event === text(2)), [
    true,
    true,
    true,
    true,
  ]);
});

Deno.test("sub notices a router that is silent for good", async () => {
  await using test = await setup();
  await using cable = layCable(test.uri);
  const sub = await test.sub(["-u", cable.url]);
  cable.freeze();
  await sub.seen(/Lost the router/);
});

Deno.test("sub --explain says what would run, and runs nothing", async () => {
  await using test = await setup();
  const entries = [...filters["local:zmq.#"], { driver: "pyfunc", handler: "no.f" }, {
    driver: "x",
    handler: "y",
    exclusive: true,
  }, { driver: "shell", handler: "true", env: ["TOKEN"] }];
  await Deno.writeTextFile(test.file, JSON.stringify({ "local:zmq.#": entries }));
  const event = `${test.directory}/event.json`;
  await Deno.writeTextFile(event, '{"event_type":"zmq.test"}');
  const { code, stdout, stderr } = await (await test.sub(["--explain", event])).ended();
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  const handlers = await Deno.realPath(`${test.directory}/handlers`);
  assert.deepEqual(lines, [
    "local:zmq.test goes to 5 handlers",
    `  local:zmq.# [0]: func would call f() of ${handlers}/mod.ts`,
    '  local:zmq.# [1]: shell would run ["./x.sh","1","<event>"]',
    `  local:zmq.# [2]: would fail: Cannot use the handler 'no.f': there is no no.py in ${handlers}`,
    "  local:zmq.# [3]: exclusive, would fail: unknown driver 'x'",
    '  local:zmq.# [4]: shell would run ["true","<event>"], with the variables TOKEN',
  ]);
  await Deno.writeTextFile(event, "no JSON");
  const bad = await (await test.sub(["--explain", event])).ended();
  assert.deepEqual([bad.code, /cannot use .*event.json/.test(bad.stderr)], [2, true], bad.stderr);
  assert.equal(await test.collections.tasks.countDocuments(), 0);
});

Deno.test("sub says what is wrong with its filters at the start", async () => {
  await using test = await setup();
  await Deno.writeTextFile(test.file, "{");
  const args = ["run", "-A", "reactor/sub.ts", "-e", test.file];
  const sub = start(args);
  const { code, stderr } = await sub.ended();
  assert.deepEqual([code, /not JSON/.test(stderr)], [2, true], stderr);
});
