import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import {
  connectProbe,
  eventually,
  type Running,
  startServers,
  startTool,
  unique,
} from "../lib/testing.ts";
import { receiveSpans } from "../lib/trace_testing.ts";

/** The sinks on queues of their own, and what sends to them, all of which export their spans. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl, mongoUrl } = stack.use(await startServers());
  const receiver = stack.use(receiveSpans());
  const [echo, mongo] = [unique("echo"), unique("mongo")];
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [echo, mongo] }));
  const client = new MongoClient(mongoUrl);
  const database = client.db(unique("db").replaceAll(".", "-"));
  stack.defer(async () => {
    await database.dropDatabase();
    await client.close();
  });
  const owned = stack.move();
  const tool = (folder: string, task: string, ...args: string[]) =>
    owned.use(startTool(`consumers/${folder}`, task, args, {
      AMQP_URL: amqpUrl,
      MONGO_URL: mongoUrl,
      ...receiver.env(folder === task ? task : `${folder} ${task}`),
    }));
  const names = ["--database", database.databaseName, "--collection", "messages"];
  return {
    ...{ receiver, probe, echo, mongo, tool },
    async consume(...args: string[]) {
      const recv = [
        tool("echo", "recv", "--queue", echo),
        tool("mongo", "recv", "--queue", mongo, ...names, ...args),
      ];
      for (const each of recv) await each.seen(/Waiting for messages/);
    },
    send: (...args: string[]) => succeeded(tool("echo", "send", ...args)),
    replay: (queue: string) =>
      succeeded(tool("dead-letters", "dead-letters", "replay", "--queue", queue)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function succeeded(tool: Running) {
  const { code, stderr } = await tool.ended();
  assert.equal(code, 0, stderr);
}

Deno.test("from send to both sinks, and from the dead-letter queue back, is one trace", async () => {
  await using test = await setup();
  const { receiver, echo, mongo } = test;
  await test.consume();
  // MongoDB takes no name with a null character.
  await test.send('{"nul\\u0000":1}');
  await eventually(async () => assert.equal(await test.probe.waiting(`${mongo}.dlq`), 1));
  await test.replay(`${mongo}.dlq`);

  const { traceId } = receiver.named("publish clowder.metrics");
  const attempt = (...more: string[]) => [
    `mongo recv: process ${mongo}`,
    "  mongo recv: insert messages",
    `  mongo recv: publish ${mongo}.dlq`,
    ...more.map((line) => `    ${line}`),
  ];
  await eventually(() => {
    const [first, ...rest] = receiver.outline(traceId);
    assert.equal(first, "echo send: publish clowder.metrics");
    // Which of the two begins first, nobody knows.
    const others = rest.filter((line) => line !== `  echo recv: process ${echo}`);
    assert.equal(others.length, rest.length - 1);
    assert.deepEqual(
      others.map((line) => line.slice(2)),
      attempt(`dead-letters: publish ${mongo}`, ...attempt().map((line) => `  ${line}`)),
    );
  });
});

Deno.test("what one write stores of several messages has links to all of them", async () => {
  await using test = await setup();
  const { receiver, mongo } = test;
  await test.consume("--batch-delay", "2000", "--batch-size", "3");
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, "one\ntwo\nthree\n");
  await test.send("--file", file);
  await Deno.remove(file);
  await eventually(() => {
    const processed = receiver.spans.filter(({ name }) => name === `process ${mongo}`);
    assert.equal(processed.length, 3);
    assert.equal(new Set(processed.map(({ traceId }) => traceId)).size, 3);
    const insert = receiver.named("insert messages");
    assert.deepEqual(insert.links.sort(), processed.map(({ spanId }) => spanId).sort());
    assert.equal(insert.attributes["messaging.batch.message_count"], 3);
    assert.equal(insert.parentSpanId, "");
  });
});
