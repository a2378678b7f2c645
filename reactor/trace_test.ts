import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectProbe, eventually, startTool, unique } from "../lib/testing.ts";
import { receiveSpans } from "../lib/trace_testing.ts";
import { MongoClient } from "mongodb";
import type { Result } from "./queue/result.ts";
import { parseHead } from "./event.ts";
import { push, setup as setupRouter } from "./testing/router.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${trace}-b7ad6b7169203331-01`;

/** Fails at its first attempt. */
const flaky = `#!/bin/sh
test -e tried && echo $TRACEPARENT || { touch tried; echo not now >&2; exit 1; }
`;

const files = {
  "flaky.sh": flaky,
  "mod.ts": "export const f = ({ traceparent }: { traceparent: string }) => traceparent;",
  "mod.py": "import os\ndef f(event): return os.environ.get('TRACEPARENT')\n",
};

/** The whole reactor, whose parts export their spans with `env`. */
async function setup(
  handlers: Record<string, unknown>[],
  env: (service: string) => Record<string, string>,
  options: Parameters<typeof setupRouter>[0] = {},
) {
  await using stack = new AsyncDisposableStack();
  const router = stack.use(await setupRouter({ journal: true, ...options }));
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${directory}/${name}`, text);
    await Deno.chmod(`${directory}/${name}`, 0o755);
  }
  const filters = `${directory}/event-handlers.json`;
  await Deno.writeTextFile(filters, JSON.stringify({ "#:zmq.test": handlers }));
  const client = stack.use(new MongoClient(router.mongoUrl));
  const results = client.db(router.database).collection<Result>("task_collection");
  const owned = stack.move();
  const start = async (tool: string, args: string[], ready: RegExp) => {
    const variables = { MONGO_URL: "", ...env(tool) };
    const running = owned.use(
      startTool("reactor", tool, ["-c", router.config, ...args], variables),
    );
    await running.seen(ready);
  };
  await start("router", [], /Routing events/);
  const uri = router.uri(router.ports.pub);
  await start("sub", ["-e", filters, "-u", uri], /Waiting for events/);
  await start(
    "worker",
    ["--event-handlers", directory, "--retry-delay", "0.1"],
    /Waiting for tasks/,
  );
  return {
    ...router,
    async fire(variables: Record<string, string> = {}, ...args: string[]) {
      const flags = [
        "-u",
        router.uri(router.ports.rep),
        "-e",
        "zmq.test",
        "-d",
        '{"a":1}',
        ...args,
      ];
      const fire = owned.use(startTool("reactor", "fire", flags, { ...env("fire"), ...variables }));
      const { code, stderr } = await fire.ended();
      assert.equal(code, 0, stderr);
    },
    /** The results, once there are so many. */
    results: (count: number) =>
      eventually(async () => {
        const found = await results.find().sort({ _id: 1 }).toArray();
        assert.equal(found.length, count);
        return found;
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("from fire to the result, attempts included, is one trace", async () => {
  await using receiver = receiveSpans();
  const handlers = [{ driver: "shell", handler: "./flaky.sh" }];
  await using test = await setup(handlers, receiver.env);
  await test.fire();
  const [result] = await test.results(1);
  assert.equal(result!.attempts, 2);
  const { traceId } = await eventually(() => receiver.named("publish local:zmq.test"));
  await eventually(() =>
    assert.deepEqual(receiver.outline(traceId), [
      "fire: publish local:zmq.test",
      "  router: process local:zmq.test",
      "    router: insert journal",
      "  sub: process local:zmq.test",
      "    sub: update tasks",
      "    worker: process local:zmq.test",
      "    worker: insert task_collection",
      "    worker: process local:zmq.test",
      "    worker: insert task_collection",
    ])
  );
  const attempts = receiver.spans.filter(({ service, name }) =>
    service === "worker" && name.startsWith("process ")
  );
  const about = attempts.map(({ attributes }) => attributes);
  assert.deepEqual(about.map((each) => each["event_sink.attempt"]), [1, 2]);
  assert.equal(about[0]!["event_sink.handler"], "shell ./flaky.sh");
  assert.match(attempts[0]!.failure!, /ended with code 1: not now/);
  // The command sees the span of its own attempt.
  assert.equal(result!.data, `00-${traceId}-${attempts[1]!.spanId}-01\n`);
});

Deno.test("without tracing the trace of who fires is handed on to every driver", async () => {
  const handlers = [
    { driver: "shell", handler: "sh -c 'echo $TRACEPARENT $TRACESTATE'" },
    { driver: "func", handler: "mod.f" },
    { driver: "pyfunc", handler: "mod.f" },
  ];
  await using test = await setup(handlers, () => ({}));
  await test.fire({ TRACEPARENT: traceparent, TRACESTATE: "vendor=1" });
  const results = await test.results(3);
  const datas = results.map(({ driver, data }) => [driver, data]);
  assert.deepEqual(Object.fromEntries(datas), {
    shell: `${traceparent} vendor=1\n`,
    func: traceparent,
    pyfunc: traceparent,
  });
});

Deno.test("a message of an AMQP feed and its handler are one trace, a feeder's pushed event begins one", async () => {
  await using receiver = receiveSpans();
  const queue = unique("feed");
  const handlers = [{ driver: "func", handler: "mod.f" }];
  await using test = await setup(handlers, receiver.env, { queue, exchanges: [] });
  await using probe = await connectProbe(test.amqpUrl, { queues: [queue] });
  const headers = { traceparent };
  probe.channel.sendToQueue(queue, Buffer.from('{"event_type":"zmq.test"}'), { headers });
  const [first] = await test.results(1);
  assert.match(`${first!.data}`, new RegExp(`^00-${trace}-`));
  await eventually(() =>
    assert.deepEqual(receiver.outline(trace), [
      `router: process ${queue}`,
      "  router: insert journal",
      "  sub: process openstack:zmq.test",
      "    sub: update tasks",
      "    worker: process openstack:zmq.test",
      "    worker: insert task_collection",
    ])
  );
  assert.equal((await test.client(push, test.uri(test.ports.pull), "1").ended()).code, 0);
  await test.results(2);
  await eventually(() => {
    const taken = receiver.spans.filter(({ service, name }) =>
      service === "router" && name === "process local:zmq.test"
    );
    assert.equal(taken.length, 1);
    assert.deepEqual(receiver.outline(taken[0]!.traceId).slice(0, 3), [
      "router: process local:zmq.test",
      "  router: insert journal",
      "  sub: process local:zmq.test",
    ]);
  });
});

Deno.test("parseHead() gives an event a trace where it has none, whatever else is missing", () => {
  const local = { namespace: "local" };
  const head = (event: unknown) =>
    JSON.parse(
      parseHead(Buffer.from(JSON.stringify(event)), local, () => ({ traceparent })) + "}",
    );
  const event = { event_type: "a", timestamp: 1 };
  const completed = { ...event, namespace: "local", traceparent };
  assert.deepEqual(head(event), completed);
  assert.deepEqual(head({ ...event, namespace: null, number: 3 }), completed);
  const own = traceparent.replace("b7", "c8");
  assert.deepEqual(head({ ...event, traceparent: own }), { ...completed, traceparent: own });
});
