import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { MongoClient } from "mongodb";
import { connectProbe, eventually, unique } from "../lib/testing.ts";
import type { ReactorEvent } from "./event.ts";
import { hasPythonZmq, lines, push, request, setup } from "./testing/router.ts";

const ignore = !await hasPythonZmq();

function eventsOf(stdout: string): ReactorEvent[] {
  return lines(stdout.replace("subscribed\n", ""));
}

/** Each number is one more than the one before. */
function assertInOrder(events: ReactorEvent[]) {
  const [first] = events;
  assert.deepEqual(
    events.map(({ number }) => number),
    events.map((_, index) => first!.number! + index),
  );
}

Deno.test({
  name: "Python programs push, request and subscribe; 1,000 events arrive in order",
  ignore,
}, async () => {
  await using test = await setup({ journal: true });
  const router = await test.router();
  assert.match(router.output.stderr, /celery\.task_imports means nothing here/);
  const sub = await test.subscriber(1001);
  const pushed = await test.client(push, test.uri(test.ports.pull), "1000").ended();
  assert.equal(pushed.code, 0, pushed.stderr);
  const req = test.client(request, test.uri(test.ports.rep));
  await req.input('{"event_type":"zmq.req","payload":[1,{"a":null}],"extra":"ü"}');
  const [accepted] = lines((await req.ended()).stdout);
  const { number, timestamp, ...rest } = accepted;
  assert.deepEqual(rest, {
    event_type: "zmq.req",
    payload: [1, { a: null }],
    extra: "ü",
    namespace: "local",
  });
  assert(Math.abs(timestamp - Date.now() / 1000) < 30);
  const events = eventsOf((await sub.ended()).stdout);
  assertInOrder(events);
  assert.deepEqual(events.find((event) => event.number === number), accepted);
  assert.deepEqual(
    events.filter((event) => event.event_type === "zmq.test").map(({ payload }) => payload),
    Array.from({ length: 1000 }, (_, n) => ({ n })),
  );
});

Deno.test(
  { name: "bad input is answered with an error, and the router lives on", ignore },
  async () => {
    await using test = await setup();
    const router = await test.router();
    assert.match(router.output.stdout, /neither numbered nor journaled/);
    const parents = (depth: number): string =>
      depth === 0 ? "1" : `{"event_type":"p","parent_event":${parents(depth - 1)}}`;
    const bad = [
      "no json",
      '{"payload":1}',
      "[]",
      "\x00\x01",
      "@50000000",
      '{"event_type":"a"}|{"event_type":"b"}',
      parents(30),
      "",
    ];
    const req = test.client(request, test.uri(test.ports.rep));
    await req.input([...bad, '{"event_type":"good"}'].join("\n"));
    const answers = lines((await req.ended()).stdout);
    const good = answers.pop();
    assert.equal(good.event_type, "good");
    assert.equal("number" in good, false);
    const expected = [
      /not JSON/,
      /no 'event_type'/,
      /array/,
      /not JSON/,
      /too large/,
      /not 2/,
      /parents/,
      /JSON/,
    ];
    expected.forEach((pattern, index) => assert.match(answers[index].error, pattern));
    const pushBad = push.replace(/socket\.send_json.*/, 'socket.send(b"\\xff\\xfe")');
    await test.client(pushBad, test.uri(test.ports.pull), "1").ended();
    await router.seen(/Refused from tcp:.*not UTF-8/);
    assert.equal((await test.fire("-e", "still.there")).code, 0);
  },
);

Deno.test(
  { name: "what was answered survives kill -9 of the router, and numbers go on", ignore },
  async () => {
    await using test = await setup({ journal: true });
    let router = await test.router();
    const events = Array.from({ length: 300 }, (_, n) => `{"event_type":"kill","payload":${n}}`);
    const req = test.client(request, test.uri(test.ports.rep));
    await req.input(events.join("\n"));
    await req.seen(/"payload":100,/);
    router.kill("SIGKILL");
    await router.ended();
    const answered = req.output.stdout.split("\n").filter((line) => line.endsWith("}"));
    await using client = new MongoClient(test.mongoUrl);
    const journal = client.db(test.database).collection<{ _id: number; event: string }>("journal");
    const stored = await journal.find().sort({ _id: 1 }).toArray();
    for (const text of answered) assert(stored.some(({ event }) => event === text), text);
    assertInOrder(stored.map(({ event }) => JSON.parse(event)));
    router = await test.router();
    const { stdout } = await test.fire("-e", "next");
    assert.equal(JSON.parse(stdout).number, stored.length + 1);
  },
);

Deno.test({
  name: "MongoDB goes away: events wait, none is lost, and SIGTERM loses none either",
  ignore,
}, async () => {
  await using test = await setup({ journal: true });
  const router = await test.router();
  const sub = await test.subscriber(2001);
  test.cable.cut("down");
  const requesting = test.fire("-e", "waits", "--timeout", "30");
  await test.client(push, test.uri(test.ports.pull), "1000").ended();
  await router.seen(/Cannot write to MongoDB/);
  test.cable.plug();
  const { code, stdout, stderr } = await requesting;
  assert.equal(code, 0, stderr);
  assert.equal(typeof JSON.parse(stdout).number, "number");
  await sub.seen(/"n": 999\}/);
  await test.client(push, test.uri(test.ports.pull), "1000").ended();
  router.kill("SIGTERM");
  const ended = await router.ended();
  assert.equal(ended.code, 0, ended.stderr);
  const events = eventsOf((await sub.ended()).stdout);
  assert.equal(events.length, 2001);
  assertInOrder(events);
});

Deno.test({
  name: "SIGTERM while clients go on: what was taken is published, what was accepted is answered",
  ignore,
}, async () => {
  await using test = await setup({ journal: true });
  const router = await test.router();
  const sub = await test.subscriber(1e9);
  const steadily = push.replace("json", "json, time")
    .replace(/ +(?=socket.send_json)/, "$&time.sleep(0.0003); ");
  const pushing = test.client(steadily, test.uri(test.ports.pull), "1000000000");
  const requesting = [1, 2, 3, 4].map(() => test.client(request, test.uri(test.ports.rep)));
  for (const each of requesting) await each.input('{"event_type":"zmq.req"}\n'.repeat(10_000));
  for (const each of requesting) await each.seen(/zmq.req/);
  await sub.seen(/"n": 500\}/);
  router.kill("SIGTERM");
  const { code, stderr } = await router.ended();
  assert.equal(code, 0, stderr);
  await using client = new MongoClient(test.mongoUrl);
  const last = await client.db(test.database).collection("journal").countDocuments();
  await sub.seen(new RegExp(`"number":${last}}`));
  pushing.kill("SIGKILL");
  const events = eventsOf(sub.output.stdout);
  assertInOrder(events);
  const pushed = events.filter(({ event_type }) => event_type === "zmq.test");
  assert.deepEqual(pushed.map(({ payload }) => payload), pushed.map((_, n) => ({ n })));
  const accepted = events.filter(({ event_type }) => event_type === "zmq.req");
  const answered = requesting.flatMap(({ output }) => lines(output.stdout));
  assert.deepEqual(answered.toSorted((a, b) => a.number - b.number), accepted);
});

/** Sends a request as REQ does (https://rfc.zeromq.org/spec/23/), and reads nothing. */
async function requestOnly(port: number, body: string): Promise<Deno.Conn> {
  const bytes = (...parts: (string | number[])[]) =>
    Buffer.concat(parts.map((part) => Buffer.from(part as string, "latin1")));
  const greeting = bytes([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0], "NULL".padEnd(52, "\0"));
  const ready = bytes("\x05READY", "\x0bSocket-Type", [0, 0, 0, 3], "REQ");
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(body.length));
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const write = async (...parts: (string | number[])[]) => {
    for (let rest = bytes(...parts); rest.length > 0;) {
      rest = rest.subarray(await connection.write(rest));
    }
  };
  await write([...greeting], [4, ready.length], [...ready]);
  const answer = Buffer.alloc(1000);
  for (let size = 0; !answer.includes("READY");) {
    size += await connection.read(answer.subarray(size)) ?? assert.fail("no handshake");
  }
  await write([1, 0], [2, ...length], body);
  return connection;
}

Deno.test({
  name: "a client that never reads its answer does not keep the router from ending",
  ignore,
}, async () => {
  await using test = await setup();
  const router = await test.router();
  const sub = await test.subscriber(1);
  const body = JSON.stringify({ event_type: "big", payload: "x".repeat(8_000_000) });
  using _ = await requestOnly(test.ports.rep, body);
  assert.equal(eventsOf((await sub.ended()).stdout)[0]!.event_type, "big");
  router.kill("SIGTERM");
  const { code, signal, stderr } = await router.ended();
  assert.deepEqual([code, signal], [0, null], stderr);
});

Deno.test(
  { name: "an AMQP queue feeds the stream; a bad message is dead-lettered", ignore },
  async () => {
    const [queue, nova] = [unique("events"), unique("nova")];
    await using test = await setup({ journal: true, queue, exchanges: [nova] });
    await using probe = await connectProbe(test.amqpUrl, { queues: [queue], exchanges: [nova] });
    // As another program has it, which does not keep it.
    await probe.channel.assertExchange(nova, "direct", { durable: false });
    await test.router("--queue-type", "quorum");
    const sub = await test.subscriber(100);
    await eventually(async () => {
      const channel = await probe.model.createChannel();
      channel.on("error", () => {}); // 404 until the router has declared its queues
      assert.equal((await channel.checkQueue(queue)).consumerCount, 1);
      await channel.close();
    });
    probe.channel.publish(nova, "notifications.info", Buffer.from("not json"));
    for (let n = 0; n < 100; n++) {
      const timestamp = "2024-05-01 10:00:00.000000";
      const event = { event_type: "compute.instance.create", payload: n, timestamp };
      probe.channel.publish(nova, "notifications.info", Buffer.from(JSON.stringify(event)));
    }
    const events = eventsOf((await sub.ended()).stdout);
    assert.deepEqual(
      events.map(({ payload }) => payload),
      Array.from({ length: 100 }, (_, n) => n),
    );
    assert.deepEqual(events[0]!.namespace, "openstack");
    assert.equal(events[0]!.timestamp, Date.UTC(2024, 4, 1, 10) / 1000);
    await eventually(async () => assert.equal(await probe.waiting(`${queue}.dlq`), 1));
    const dead = await probe.channel.get(`${queue}.dlq`, { noAck: true });
    assert(dead);
    assert.equal(dead.content.toString(), "not json");
    await eventually(async () => assert.equal(await probe.waiting(queue), 0));
    for (const name of [queue, `${queue}.dlq`]) {
      const options = { durable: true, arguments: { "x-queue-type": "quorum" } };
      await probe.channel.assertQueue(name, options); // 406 for another type
    }
  },
);

Deno.test("fire prints the accepted event, pushes with PUSH, and fails without a router", async () => {
  await using test = await setup();
  const nobody = await test.fire("-e", "a", "--timeout", "0.3");
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /^Cannot fire: nobody takes events at tcp:/);
  await test.router();
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, '{"from":"file"}');
  const { code, stdout } = await test.fire("-e", "a", "-d", `@${file}`, "-n", "mine");
  await Deno.remove(file);
  assert.equal(code, 0);
  const { timestamp: _, ...event } = JSON.parse(stdout);
  assert.deepEqual(event, { namespace: "mine", event_type: "a", payload: { from: "file" } });
  const pull = test.uri(test.ports.pull);
  assert.equal((await test.fire("-e", "b", "-p", "1", "-z", "zmq.PUSH", "-u", pull)).code, 0);
  assert.equal((await test.fire("-e", "b", "-p", "{")).code, 2);
});

/** Pushes events of 4 MB, as many as are taken within 3 seconds each. */
const pushLarge = `
import sys, zmq
socket = zmq.Context().socket(zmq.PUSH)
socket.SNDHWM = 1
socket.SNDTIMEO = 3000
socket.LINGER = 0
socket.connect(sys.argv[1])
event = b'{"event_type":"large","payload":"' + b"x" * 4_000_000 + b'"}'
count = 0
try:
    while count < 100:
        socket.send(event)
        count += 1
except zmq.Again: pass
print(count)
`;

Deno.test({
  name:
    "while MongoDB is away the router holds some large events, and leaves the others to who pushes",
  ignore,
}, async () => {
  await using test = await setup({ journal: true });
  const router = await test.router();
  assert.equal((await test.fire("-e", "before")).code, 0);
  test.cable.cut("down");
  const { code, stdout, stderr } = await test.client(pushLarge, test.uri(test.ports.pull)).ended();
  assert.equal(code, 0, stderr);
  assert(Number(stdout) < 50, `${stdout.trim()} events of 4 MB are held`);
  router.kill("SIGKILL");
});
