import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { savedLine } from "@event-sink/lib";
import { eventually, startTool, unique } from "../../lib/testing.ts";
import { setup } from "./testing.ts";

const letters = (...names: string[]) => names;

Deno.test("a message goes back as it was, but for its TTL, its user and what was counted of it", async () => {
  await using test = await setup();
  await test.save([
    savedLine({
      time: new Date("2026-01-31T12:00:00Z"),
      exchange: test.queue,
      routingKey: "some.key",
      body: Buffer.from([0xff, 0, 0xfe]),
      properties: {
        messageId: "m1",
        contentType: "application/octet-stream",
        correlationId: "c",
        type: "t",
        appId: "a",
        priority: 3,
        timestamp: 1769860800,
        expiration: "1",
        userId: "nobody",
        headers: {
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          bytes: Buffer.from([1, 0xff]),
          at: { "!": "timestamp", value: 1769860800 },
          "x-attempts": 5,
          "x-reason": "bad",
          "x-original-queue": "q",
          "x-death": [{ queue: "q", reason: "expired" }],
          "x-first-death-queue": "q",
          "x-last-death-reason": "expired",
          "x-delivery-count": 3,
        },
      },
    }),
    savedLine({ exchange: "", routingKey: test.queue, body: Buffer.from(""), properties: {} }),
  ]);
  const { code, stdout, stderr } = await test.tool("--from", test.file).ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^ \[x\] Replayed 2 messages in [\d.]+ s \(\d+\/s\)\n$/);
  const [first, second] = await test.drain(2);
  assert.deepEqual(first!.content, Buffer.from([0xff, 0, 0xfe]));
  assert.equal(first!.fields.exchange, test.queue);
  assert.equal(first!.fields.routingKey, "some.key");
  const { headers, ...properties } = first!.properties;
  assert.deepEqual({ ...headers }, {
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    bytes: Buffer.from([1, 0xff]),
    at: { "!": "timestamp", value: 1769860800 },
  });
  const { messageId, correlationId, type, appId, priority, timestamp } = properties;
  assert.deepEqual([messageId, correlationId, type, appId, priority, timestamp], [
    ...["m1", "c", "t", "a", 3, 1769860800],
  ]);
  assert.deepEqual([properties.expiration, properties.userId, properties.deliveryMode], [
    ...[undefined, undefined, 2],
  ]);
  assert.match(second!.properties.messageId, /^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab]/);
  assert.equal(second!.properties.timestamp, undefined);
});

Deno.test("--exchange and --routing-key say where to; further keys in CC then hold no more", async () => {
  await using test = await setup();
  const other = `${test.queue}.dlq`; // the end deletes it
  await test.probe.channel.assertQueue(other, { durable: true });
  await test.save([
    test.line("x", { exchange: "gone", properties: { headers: { CC: [other] } } }),
  ]);
  const to = ["--exchange", "", "--routing-key", test.queue];
  assert.equal((await test.tool("--from", test.file, ...to).ended()).code, 0);
  const [message] = await test.drain(1);
  assert.deepEqual(message!.fields.exchange, "");
  assert.equal(message!.properties.headers?.CC, undefined);
  assert.equal(await test.probe.count(other), 0);
});

Deno.test("kill -9 and again: the Mongo consumer has each message once, also those without an id", async () => {
  await using test = await setup();
  const database = unique("db").replaceAll(".", "-");
  const { MongoClient } = await import("mongodb");
  const client = new MongoClient(test.mongoUrl);
  test.owned.defer(async () => {
    await client.db(database).dropDatabase();
    await client.close();
  });
  const count = 30_000;
  await test.save(Array.from({ length: count }, (_, n) =>
    test.line(`{"n":${n}}`, {
      exchange: "",
      routingKey: test.queue,
      properties: n % 2 ? { messageId: `${n}` } : {},
    })));
  let killed = 0;
  for (let code = 1; code !== 0;) {
    const before = await test.probe.count(test.queue);
    const replay = test.tool("--from", test.file);
    if (killed < 2) {
      await eventually(async () => {
        if (await test.probe.count(test.queue) < before + 5000) throw new Error("not yet");
      });
      replay.kill("SIGKILL");
      killed++;
    }
    ({ code } = await replay.ended());
  }
  assert.equal(killed, 2);
  const stored = client.db(database).collection("events");
  test.owned.use(
    startTool("consumers/mongo", "recv", [
      ...["--queue", test.queue, "--database", database, "--collection", "events"],
    ], { AMQP_URL: test.amqpUrl, MONGO_URL: test.mongoUrl }),
  );
  await eventually(async () => {
    assert.equal(await test.probe.count(test.queue), 0);
    assert.equal(await stored.countDocuments(), count);
  }, 60_000);
  assert.equal((await stored.distinct("event.n")).length, count);
});

Deno.test("what comes after a stop goes out with the next run, and nothing a second time", async () => {
  await using test = await setup();
  const time = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 1000);
  await test.save(
    letters("a", "b", "c", "d").map((name, n) =>
      test.line(name, { time: time(n < 2 ? 0 : 3600 + n) })
    ),
  );
  const replay = test.tool("--from", test.file, "--speed", "1");
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 2));
  const second = await test.tool("--from", test.file).ended();
  assert.equal(second.code, 1);
  assert.equal(second.stderr, `'${test.file}.position' is in use by another replay\n`);
  replay.kill("SIGINT");
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 1);
  assert.match(stdout, /Replayed 2 messages/);
  assert.equal(stderr, `Stopped. The next run goes on there, by '${test.file}.position'\n`);
  const rest = await test.tool("--from", test.file).ended();
  assert.equal(rest.code, 0);
  assert.match(rest.stderr, /Going on after line 2 of '.*', by '.*'\n$/);
  assert.deepEqual(await test.bodies(4), ["a", "b", "c", "d"]);
  assert.match(
    (await test.tool("--from", test.file).ended()).stdout,
    /Replayed 0 messages.*\n +Nothing is left after .*; delete it to replay everything again\n$/,
  );
});

Deno.test("--speed keeps the gaps, at that speed; a message without a time goes at once", async () => {
  await using test = await setup();
  const start = Date.UTC(2026, 0, 1);
  await test.save([
    test.line("a", { time: new Date(start) }),
    test.line("b"),
    test.line("c", { time: new Date(start + 10_000) }),
  ]);
  const before = performance.now();
  const { stdout } = await test.tool("--from", test.file, "--speed", "20").ended();
  const took = Number(/in ([\d.]+) s/.exec(stdout)![1]);
  assert(took >= 0.5 && performance.now() - before < 9000, stdout);
  assert.deepEqual(await test.bodies(3), ["a", "b", "c"]);
});

Deno.test("--where, --since and --until choose; --dry-run says what would go where, and leaves no trace", async () => {
  await using test = await setup();
  const time = (n: number) => new Date(Date.UTC(2026, 0, 1 + n));
  const numbers = [0, 1, 2, 3, 4, 5];
  await test.save(numbers.map((n) => test.line(`{"n":${n}}`, { time: time(n) })));
  const chosen = ["--since", "2026-01-02", "--until", "2026-01-05T00:00Z"];
  const where = ["--where", '{"body.n":{"$ne":2}}'];
  const args = ["--from", test.file, ...chosen, ...where];
  const dry = await test.tool(...args, "--dry-run").ended();
  assert.equal(dry.code, 0, dry.stderr);
  const to = `exchange '${test.queue}', routing key 'a.key'`;
  assert.equal(
    dry.stdout,
    `line 2: ${to}, id id-{"n":1}, 7 bytes\nline 4: ${to}, id id-{"n":3}, 7 bytes\n` +
      " [x] Would replay 2 messages, 4 left out\n",
  );
  assert.deepEqual([...Deno.readDirSync(test.path.replace(/\/[^/]*$/, ""))].length, 1);
  assert.equal(await test.probe.count(test.queue), 0);
  const { code, stdout } = await test.tool(...args).ended();
  assert.equal(code, 0);
  assert.match(stdout, /Replayed 2 messages in .*, 4 left out\n$/);
  assert.deepEqual(await test.bodies(2), ['{"n":1}', '{"n":3}']);
  assert.equal((await test.position()).at.line, 6);
});

Deno.test("standard input is replayed, without a position", async () => {
  await using test = await setup();
  const replay = test.tool("--from", "-");
  await replay.input(`${test.line("a")}\n\n${test.line("b")}`);
  assert.equal((await replay.ended()).code, 0);
  assert.deepEqual(await test.bodies(2), ["a", "b"]);
  const waiting = test.tool("--from", "-");
  const writer = waiting.openInput();
  await writer.write(new TextEncoder().encode(`${test.line("c")}\n`));
  assert.deepEqual(await test.bodies(1), ["c"]);
  waiting.kill("SIGINT");
  await waiting.seen(/Stopped\./);
  assert.equal((await waiting.status).code, 1);
});

Deno.test("a broker that goes away in the middle and comes back costs nothing", async () => {
  await using test = await setup();
  const count = 50_000;
  await test.save(Array.from({ length: count }, (_, n) => test.line(`${n}`)));
  const replay = test.tool("--from", test.file);
  await eventually(async () => {
    if (await test.probe.count(test.queue) < 5000) throw new Error("not yet");
  });
  test.cable.cut("down");
  await replay.seen(/Reconnecting/);
  test.cable.plug();
  const { code, stdout } = await replay.ended();
  assert.equal(code, 0);
  assert.match(stdout, /Replayed 50000 messages/);
  const arrived = new Set<string>();
  await test.probe.channel.consume(test.queue, (message) => {
    if (message) arrived.add(message.content.toString());
  }, { noAck: true });
  await eventually(() => assert.equal(arrived.size, count));
});
