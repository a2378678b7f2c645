/** SIGTERM while MongoDB is away, or hangs: each tool ends within its limit and says what becomes of what it holds. */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { type Cable, eventually, layCable, type Running, startTool } from "../lib/testing.ts";
import { hasPythonZmq, push, setup } from "./testing/router.ts";
import { alive, setup as setupWorkers } from "./testing/worker.ts";

const ignore = !await hasPythonZmq();

const outages: Record<string, (cable: Cable) => void> = {
  "is away": (cable) => cable.cut("down"),
  "hangs": (cable) => cable.freeze(),
};
const bothOutages = (test: (strike: (cable: Cable) => void) => Promise<void>) =>
  Promise.all(Object.values(outages).map(test)).then(() => {});

/** Sends SIGTERM, and waits for the end within the limit. */
async function stop(tool: Running) {
  const start = Date.now();
  tool.kill("SIGTERM");
  const ended = await tool.ended();
  assert(Date.now() - start < 11_000, `${Date.now() - start} ms`);
  assert.doesNotMatch(ended.stderr, /Cannot stop/);
  return ended;
}

/** A request that tells when it is on its way, and what is answered. */
const ask = `
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.LINGER = 0
socket.connect(sys.argv[1])
socket.send_json({"event_type": "asked"})
print("sent", flush=True)
print(socket.recv().decode(), flush=True)
`;

Deno.test({
  name:
    "router is stopped while MongoDB is away: it says how many events are lost, and accepts none",
  ignore,
}, () =>
  bothOutages(async (strike) => {
    await using test = await setup({ journal: true });
    const router = await test.router();
    assert.equal((await test.fire("-e", "before")).code, 0);
    strike(test.cable);
    const asking = test.client(ask, test.uri(test.ports.rep));
    await asking.seen(/sent/);
    assert.equal((await test.client(push, test.uri(test.ports.pull), "50").ended()).code, 0);
    const { code, stderr } = await stop(router);
    assert.match(
      stderr,
      /^Cannot write to MongoDB: events lost that were pushed: 50; not accepted from .*: 1$/m,
    );
    assert.equal(code, 1);
    assert.equal(asking.output.stdout, "sent\n");
    await using client = new MongoClient(test.mongoUrl);
    const journal = client.db(test.database).collection("journal");
    assert.equal(await journal.countDocuments(), 1);
  }));

Deno.test({
  name: "sub is stopped while MongoDB is away: it ends, and comes back to the event",
  ignore,
}, () =>
  bothOutages(async (strike) => {
    await using test = await setup({ journal: true });
    await using cable = layCable(test.mongoUrl); // the router keeps its own
    await test.router();
    const directory = await Deno.makeTempDir();
    const files = { filters: `${directory}/f.json`, config: `${directory}/c.json` };
    await Deno.writeTextFile(files.filters, '{"#:#":[{"driver":"shell","handler":"true"}]}');
    await Deno.writeTextFile(files.config, JSON.stringify({ tasks: { database: test.database } }));
    const sub = (url: string) => {
      const args = ["-c", files.config, "-e", files.filters, "-u", test.uri(test.ports.pub)];
      return startTool("reactor", "sub", args, { MONGO_URL: url });
    };
    await using client = new MongoClient(test.mongoUrl);
    const tasks = client.db(test.database).collection("tasks");
    const handled = (event_type: string) =>
      eventually(async () => assert.equal(await tasks.countDocuments({ event_type }), 1));

    await using first = sub(cable.url);
    await first.seen(/Waiting for events/);
    await test.fire("-e", "before");
    await handled("before");
    strike(cable);
    assert.equal((await test.fire("-e", "during")).code, 0);
    if (strike === outages["is away"]) await first.seen(/Cannot use MongoDB/);
    const { code, stderr } = await stop(first);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Cannot use MongoDB|MongoDB does not answer: what is in hand comes from/);
    assert.equal(await tasks.countDocuments(), 1);
    await using _again = sub(test.mongoUrl);
    await handled("during");
    await Deno.remove(directory, { recursive: true });
  }));

Deno.test("worker is stopped while MongoDB is away: it kills handlers, and says what runs again", () =>
  bothOutages(async (strike) => {
    await using test = await setupWorkers({
      "done.sh":
        "#!/bin/sh\necho $$ | tee done >> started\nwhile ! [ -e go ]; do sleep 0.05; done\n",
      "long.sh": "#!/bin/sh\necho $$ >> started\nexec sleep 100\n",
    });
    const worker = await test.worker(["--lease", "30"], test.cable.url);
    const shell = (handler: string) => ({ driver: "shell", handler });
    await test.add([shell("./done.sh"), shell("./long.sh")]);
    await eventually(async () => assert.equal((await test.lines("started")).length, 2));
    strike(test.cable);
    const [done] = await test.lines("done");
    await test.write("go", ""); // the result cannot be written, and the worker looks for more tasks
    await eventually(async () => assert.equal(await alive(Number(done)), false));
    const { code, stderr } = await stop(worker);
    assert.match(
      stderr,
      /^Cannot write to MongoDB: tasks that run again when their lease ends: 2$/m,
    );
    assert.equal(code, 1);
    for (const pid of await test.lines("started")) assert.equal(await alive(Number(pid)), false);
    assert.equal(await test.collections.tasks.countDocuments({ status: "running" }), 2);
  }));
