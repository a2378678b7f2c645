import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Document, MongoClient } from "mongodb";
import {
  connectProbe,
  eventually,
  layCable,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";
import { documentOf } from "./document.ts";

const folder = "consumers/mongo";

async function setup(options: { messages?: number } = {}) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.mongoUrl));
  const amqpCable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("mongo");
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true });
  const client = new MongoClient(servers.mongoUrl);
  const database = client.db(unique("db").replaceAll(".", "-"));
  stack.defer(async () => {
    await database.dropDatabase();
    await client.close();
  });
  const collection = database.collection<Document & { _id: string }>("messages");
  for (let number = 0; number < (options.messages ?? 0); number++) {
    probe.channel.sendToQueue(queue, Buffer.from(`{"number":${number}}`), {
      messageId: `id-${number}`,
    });
  }
  const owned = stack.move();
  const names = ["--queue", queue, "--database", database.databaseName, "--collection", "messages"];
  return {
    queue,
    probe,
    collection,
    cable,
    amqpCable,
    recv: (args: string[] = [], env: Record<string, string> = {}) =>
      owned.use(
        startTool(folder, "recv", [...names, ...args], {
          AMQP_URL: amqpCable.url,
          MONGO_URL: cable.url,
          ...env,
        }),
      ),
    send: (body: string | Uint8Array, properties = {}) =>
      probe.channel.sendToQueue(queue, Buffer.from(body as string), properties),
    stored: (count: number) =>
      eventually(async () => assert.equal(await collection.countDocuments(), count)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const ready = /Waiting for messages/;

Deno.test("documentOf() takes over what the message has, and nothing else", () => {
  const message = { exchange: "x", attempt: 1, body: new TextEncoder().encode('{"a":[1]}') };
  const before = Date.now();
  const full = documentOf({
    ...message,
    routingKey: "key",
    // deno-lint-ignore no-explicit-any
    properties: { messageId: "m", headers: { h: 1 }, timestamp: 1_700_000_000 } as any,
  });
  const { created, ...rest } = full;
  assert(created.toNumber() >= before && created.toNumber() <= Date.now());
  assert.deepEqual(rest, {
    _id: "m",
    message: '{"a":[1]}',
    event: { a: [1] },
    routingKey: "key",
    headers: { h: 1 },
    publishedAt: new Date(1_700_000_000_000),
  });
  const bare = documentOf({
    ...message,
    body: new TextEncoder().encode("hello..."),
    routingKey: "",
    // deno-lint-ignore no-explicit-any
    properties: { headers: {} } as any,
  });
  assert.deepEqual(Object.keys(bare), ["created", "message"]);
});

Deno.test("recv stores one document per message, in the form of the contract", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  test.send("hello...", { messageId: "one" });
  test.send('{"nested":{"$set":1,"a.b":2},"big":12345678901234567890}', {
    headers: { source: "test" },
    timestamp: 1_700_000_000,
  });
  await test.stored(2);
  const plain = await test.collection.findOne({ _id: "one" });
  assert.equal(plain?.message, "hello...");
  assert.equal(typeof plain?.created, "number");
  assert.deepEqual(Object.keys(plain!).sort(), ["_id", "created", "message", "routingKey"]);
  const json = await test.collection.findOne({ _id: { $ne: "one" } });
  assert.equal(json?.message, '{"nested":{"$set":1,"a.b":2},"big":12345678901234567890}');
  assert.deepEqual(json?.event.nested, { "$set": 1, "a.b": 2 });
  assert.deepEqual(json?.headers, { source: "test" });
  assert.deepEqual(json?.publishedAt, new Date(1_700_000_000_000));
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("recv takes a message that it has stored already as stored", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  for (const body of ["first", "again", "and again"]) test.send(body, { messageId: "same" });
  test.send("other", { messageId: "other" });
  await test.stored(2);
  recv.kill("SIGTERM");
  assert.equal((await recv.ended()).code, 0);
  assert.equal((await test.collection.findOne({ _id: "same" }))?.message, "first");
  for (const queue of [test.queue, `${test.queue}.dlq`]) {
    assert.equal(await test.probe.count(queue), 0);
  }
});

Deno.test("recv dead-letters, alone, what MongoDB cannot take, with the reason", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  const bad: [string | Uint8Array, string, RegExp][] = [
    [new Uint8Array([0xff, 0xfe]), "binary", /the body is not UTF-8/],
    // The largest body that RabbitMQ 4 takes makes a document that is larger than MongoDB takes.
    ["x".repeat(16 * 2 ** 20), "large", /MongoDB cannot take the document: .*(size|large)/i],
    [
      `${"[".repeat(2000)}${"]".repeat(2000)}`,
      "deep",
      /MongoDB cannot take the document: .*(depth|nest|stack)/i,
    ],
    ['{"nul\\u0000in key":1}', "nul", /MongoDB cannot take the document: .*null bytes/],
  ];
  for (const [body, messageId] of bad) {
    test.send("before", { messageId: `before ${messageId}` });
    test.send(body, { messageId });
    test.send("after", { messageId: `after ${messageId}` });
  }
  await test.stored(2 * bad.length);
  const dead = new Map<string, string>();
  while (dead.size < bad.length) {
    const { properties } = await test.probe.take(`${test.queue}.dlq`);
    dead.set(properties.messageId, properties.headers?.["x-reason"]);
  }
  for (const [, messageId, reason] of bad) assert.match(dead.get(messageId) ?? "", reason);
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("recv dead-letters a message that violates another unique index", async () => {
  await using test = await setup();
  await test.collection.createIndex({ message: 1 }, { unique: true });
  const recv = test.recv();
  await recv.seen(ready);
  test.send("same", { messageId: "1" });
  test.send("same", { messageId: "2" });
  const { properties } = await test.probe.take(`${test.queue}.dlq`);
  assert.match(properties.headers?.["x-reason"], /E11000 duplicate key error .* index: message_1/);
  await test.stored(1);
});

Deno.test("MongoDB away in the middle of a stream: nothing is lost, nothing stored twice, and on it goes", async () => {
  await using test = await setup({ messages: 5000 });
  const recv = test.recv(["--batch-size", "100"]);
  await eventually(async () => assert(await test.collection.estimatedDocumentCount() > 500));
  test.cable.cut("down");
  await recv.seen(/Cannot write to MongoDB: .* Waiting until it can/);
  for (let number = 5000; number < 10_000; number++) {
    test.send("later", { messageId: `id-${number}` });
  }
  // In hand are three batches at most, whatever comes.
  const { messageCount } = await test.probe.channel.checkQueue(test.queue);
  assert(messageCount >= 4700, `${messageCount}`);
  test.cable.plug();
  await recv.seen(/MongoDB is back/);
  await test.stored(10_000);
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("the broker away in the middle of a stream, and kill -9: every message is stored once", async () => {
  await using test = await setup({ messages: 10_000 });
  const first = test.recv(["--batch-size", "100"]);
  await eventually(async () => assert(await test.collection.estimatedDocumentCount() > 500));
  test.amqpCable.cut();
  await eventually(async () => assert(await test.collection.estimatedDocumentCount() > 3000));
  first.kill("SIGKILL");
  const second = test.recv();
  await test.stored(10_000);
  second.kill("SIGINT");
  assert.equal((await second.ended()).code, 0);
  assert.equal(await test.probe.count(test.queue), 0);
});

Deno.test("Ctrl-C while MongoDB is away gives everything back and ends with 0", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  test.cable.cut("down");
  for (let number = 0; number < 50; number++) test.send("kept");
  await recv.seen(/Waiting until it can/);
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 50));
});

Deno.test("recv waits for a MongoDB that is not there yet, and can be stopped meanwhile", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const stopped = test.recv();
  await stopped.seen(/Waiting for MongoDB; start one with: deno task up/);
  stopped.kill("SIGINT");
  assert.equal((await stopped.ended()).code, 0);
  const waiting = test.recv();
  await waiting.seen(/Waiting for MongoDB/);
  test.cable.plug();
  await waiting.seen(ready);
});

Deno.test("a MongoDB URL that cannot work is one clear line without a password", async () => {
  await using test = await setup();
  const cases: [string, number, RegExp][] = [
    [
      "http://u:s3cret@localhost",
      2,
      /^MONGO_URL: cannot use 'http:\/\/\*\*\*@localhost': expected mongodb:/,
    ],
    [
      "mongodb://u:s3cret@localhost/?nope=1",
      2,
      /^Cannot use the MongoDB URL \S+: option nope is not supported/,
    ],
    [
      "mongodb://u:s3cret@no-such-host.invalid",
      1,
      /^Cannot connect: unknown host in mongodb:\/\/no-such-host/,
    ],
  ];
  for (const [MONGO_URL, code, pattern] of cases) {
    const ended = await test.recv([], { MONGO_URL }).ended();
    assert.match(ended.stderr, pattern);
    assert.equal(ended.code, code);
    assert.doesNotMatch(ended.stderr, /s3cret|\n./);
  }
});

Deno.test("recv --schema stores what conforms, and dead-letters the rest with its path", async () => {
  await using test = await setup();
  const schema = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(schema, '{"properties": {"n": {"type": "integer"}}}');
    const recv = test.recv(["--schema", schema]);
    await recv.seen(ready);
    test.send('{"n": "one"}');
    test.send('{"n": 1}', { messageId: "good" });
    const { properties } = await test.probe.take(`${test.queue}.dlq`);
    assert.match(
      properties.headers?.["x-reason"],
      /^does not conform to \w+\.json: \/n: must be integer$/,
    );
    await test.stored(1);
    assert.equal((await test.collection.findOne())?._id, "good");
  } finally {
    await Deno.remove(schema);
  }
});
