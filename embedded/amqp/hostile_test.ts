import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import amqp from "amqplib";
import { until, within } from "./contract/harness.ts";
import { Wire } from "./contract/wire.ts";
import { writeMethod } from "./protocol/codec.ts";
import { type Field, Scratch, type Table, writeUint } from "./protocol/fields.ts";
import { startBroker } from "./mod.ts";
import { methods } from "./protocol/spec.ts";
import { spawnBroker } from "./testing.ts";

/** How long to fuzz, and with which numbers; a failure names them. */
const seconds = Number(Deno.env.get("FUZZ_SECONDS") ?? 5);
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 100_000);

class Random {
  constructor(private state: number) {}

  below(limit: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.state / 2 ** 32 * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  text(): string {
    return this.pick(["", "a", "q", "amq.direct", "#", "x".repeat(255), "\0\r\n", "é"]);
  }

  table(depth = 0): Table {
    const table: Table = new Map();
    for (let i = this.below(4); i > 0; i--) {
      const key = this.pick(["x-message-ttl", "x-max-length", "CC", "x-death", "a", this.text()]);
      table.set(key, this.field(depth + 1));
    }
    return table;
  }

  field(depth: number): Field {
    switch (this.below(depth > 5 ? 4 : 6)) {
      case 0:
        return { t: "S", v: this.text() };
      case 1:
        return { t: "I", v: this.below(2 ** 31) - 2 ** 30 };
      case 2:
        return { t: "t", v: this.below(2) === 1 };
      case 3:
        return { t: "l", v: this.below(2 ** 31) };
      case 4:
        return { t: "F", v: this.table(depth) };
      default:
        return { t: "A", v: [this.field(depth + 1)] };
    }
  }
}

/** A method of the table with random arguments, for a random channel. */
function anyMethod(random: Random): Buffer {
  const names = Object.keys(methods) as (keyof typeof methods)[];
  const name = random.pick(names.filter((n) => n !== "connection.close" || random.below(10) === 0));
  const args: Record<string, unknown> = {};
  for (const [key, type] of Object.entries(methods[name][1])) {
    args[key] = type === "bit"
      ? random.below(2) === 1
      : type === "table"
      ? random.table()
      : type === "shortstr" || type === "longstr"
      ? random.text()
      : random.pick([0, 1, 2, random.below(70000)]);
  }
  const scratch = new Scratch();
  const channel = name.startsWith("connection") ? 0 : random.pick([1, 1, 1, 2, 0, 65535]);
  writeMethod(scratch, channel, name, args as never);
  return scratch.done();
}

function rawFrame(type: number, channel: number, payload: Uint8Array): Buffer {
  const scratch = new Scratch();
  writeUint(scratch, type, 1);
  writeUint(scratch, channel, 2);
  writeUint(scratch, payload.length, 4);
  return Buffer.concat([scratch.done(), payload, Buffer.of(0xce)]);
}

/** A content header: sizes and flags that may be lies. */
function anyHeader(random: Random): Buffer {
  const payload = new Scratch();
  writeUint(payload, random.pick([60, 60, 60, 50]), 2);
  writeUint(payload, 0, 2);
  writeUint(payload, random.pick([0, 3, 200, 134217728, 2 ** 40]), 8);
  writeUint(payload, random.pick([0, 0x2000, 0xfffc, 0xffff, random.below(65536)]), 2);
  return rawFrame(2, 1, Buffer.concat([payload.done(), random.bytes(random.below(60))]));
}

/** One step of an attack. */
function anyBytes(random: Random): Buffer {
  switch (random.below(7)) {
    case 0:
      return random.bytes(random.below(200));
    case 1:
      return anyHeader(random);
    case 2:
      return rawFrame(3, 1, random.bytes(random.below(300)));
    case 3:
      return rawFrame(
        random.pick([0, 1, 2, 3, 8, 255]),
        random.below(3),
        random.bytes(random.below(40)),
      );
    case 4: {
      const mutated = anyMethod(random);
      for (let i = random.below(4); i > 0; i--) {
        mutated[random.below(mutated.length)] = random.below(256);
      }
      return mutated;
    }
    default:
      return anyMethod(random);
  }
}

async function attack(url: string, random: Random): Promise<void> {
  const kind = random.below(6);
  if (kind === 0) {
    const wire = await Wire.connect(url);
    await wire.bytes(random.bytes(random.below(50) + 1));
    await wire[Symbol.asyncDispose]();
    return;
  }
  const wire = kind === 1 ? await Wire.login(url) : await Wire.open(url);
  const drained = (async () => {
    const sink = new Uint8Array(65536);
    while (await wire.conn.read(sink) !== null);
  })().catch(() => {});
  try {
    for (let i = random.below(40); i > 0; i--) await wire.bytes(anyBytes(random));
    const last = anyMethod(random);
    await wire.bytes(last.subarray(0, random.below(last.length)));
  } catch { /* the broker hung up, as it may */ }
  await wire[Symbol.asyncDispose]();
  await drained;
}

Deno.test(`random and mutated frames for ${seconds} s disturb nobody (FUZZ_SEED=${seed})`, async () => {
  const errors: string[] = [];
  await using broker = await startBroker({ port: 0, log: (text) => errors.push(text) });
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  let delivered = 0;
  await channel.consume(queue, () => delivered++, { noAck: true });
  const random = new Random(seed);
  const end = Date.now() + seconds * 1000;
  let attacks = 0;
  for (; Date.now() < end; attacks++) {
    await Promise.all(Array.from({ length: 8 }, () => attack(broker.url, random)));
    channel.sendToQueue(queue, Buffer.from("still here"));
    await within(channel.waitForConfirms(), "a confirm during the attack");
    await until(() => delivered === attacks + 1, "a delivery during the attack");
    assert.deepEqual(errors, [], `after ${attacks} attacks`);
  }
  assert.ok(attacks > 10);
  await connection.close();
});

Deno.test("deep and huge tables are refused with 502", async () => {
  await using broker = await startBroker({ port: 0 });
  for (const shape of ["A", "F"]) {
    await using wire = await Wire.open(broker.url);
    // queue.declare with a table nested as deep as a frame allows.
    let nested: Buffer = Buffer.alloc(0);
    const depth = 10_000;
    const parts: Buffer[] = [];
    const unit = shape === "A" ? 5 : 7;
    for (let i = depth; i > 0; i--) {
      const size = Buffer.alloc(4);
      size.writeUInt32BE((i - 1) * unit);
      parts.push(Buffer.concat([Buffer.from(shape === "A" ? "A" : "\x01aF", "latin1"), size]));
    }
    nested = Buffer.concat(parts);
    const key = shape === "A" ? Buffer.from("\x01a", "latin1") : Buffer.alloc(0);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(nested.length + key.length);
    const head = Buffer.from("\0\x32\0\x0a\0\0\x01q\0", "latin1");
    await wire.frame(1, 1, Buffer.concat([head, size, key, nested]));
    assert.equal((await wire.expect("connection.close")).replyCode, 502);
  }
});

Deno.test("announced bodies that never come cost no memory", async () => {
  await using broker = await startBroker({ port: 0, maxMessageSize: 134217728 });
  const before = Deno.memoryUsage().rss;
  const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.open(broker.url)));
  for (const wire of wires) {
    for (let channel = 1; channel <= 10; channel++) {
      if (channel > 1) {
        await wire.send(channel, "channel.open", { outOfBand: "" });
        await wire.expect("channel.open-ok");
      }
      await wire.send(channel, "basic.publish", {
        ticket: 0,
        exchange: "",
        routingKey: "q",
        mandatory: false,
        immediate: false,
      });
      await wire.header(channel, 134217728);
    }
  }
  const grown = Deno.memoryUsage().rss - before;
  for (const wire of wires) await wire[Symbol.asyncDispose]();
  assert.ok(grown < 300 * 1024 ** 2, `${grown} bytes for 27 GB announced`);
});

Deno.test("a consumer that does not read does not fill the memory, others go on", async () => {
  await using broker = await startBroker({ port: 0 });
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("q");
  await using deaf = await Wire.open(broker.url);
  await deaf.send(1, "basic.consume", {
    ticket: 0,
    queue: "q",
    consumerTag: "deaf",
    noLocal: false,
    noAck: true,
    exclusive: false,
    nowait: true,
    arguments: new Map(),
  });
  await until(async () => (await channel.checkQueue("q")).consumerCount === 1);
  const body = Buffer.alloc(100_000);
  for (let i = 0; i < 300; i++) channel.sendToQueue("q", body);
  await channel.waitForConfirms();
  // 30 MB were sent; most must still be in the queue, not in the deaf consumer's output.
  assert.ok((await channel.checkQueue("q")).messageCount > 150);
  // The rest comes once it reads.
  let received = 0;
  const sink = new Uint8Array(1 << 20);
  while (received < 300 * body.length) received += await deaf.conn.read(sink) ?? Infinity;
  assert.equal((await channel.checkQueue("q")).messageCount, 0);
  await connection.close();
});

Deno.test("publishers are blocked above the memory mark, and go on below it", async () => {
  await using broker = await startBroker({ port: 0, memoryMark: 1_000_000 });
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("q");
  const events: string[] = [];
  connection.on("blocked", (reason) => events.push(`blocked: ${reason}`));
  connection.on("unblocked", () => events.push("unblocked"));
  let confirmed = 0;
  for (let i = 0; i < 40; i++) {
    channel.sendToQueue("q", Buffer.alloc(50_000), {}, () => confirmed++);
  }
  await until(() => events.length === 1);
  assert.deepEqual(events, ["blocked: low on memory"]);
  assert.ok(confirmed < 40);
  const other = await amqp.connect(broker.url);
  const reader = await other.createChannel();
  await reader.consume("q", () => {}, { noAck: true });
  await until(() => confirmed === 40);
  assert.ok(events.includes("unblocked"));
  await other.close();
  await connection.close();
});

Deno.test("a message larger than allowed closes its channel with 406, and is not kept in memory", async () => {
  await using broker = await startBroker({ port: 0, maxMessageSize: 1000 });
  await using wire = await Wire.open(broker.url);
  const queue = "q";
  const kinds = { passive: false, durable: false, exclusive: false, autoDelete: true };
  const declared = { ticket: 0, queue, ...kinds, nowait: false, arguments: new Map() };
  await wire.send(1, "queue.declare", declared);
  await wire.expect("queue.declare-ok");
  await wire.publish("", queue, "x".repeat(1000));
  await wire.send(1, "basic.publish", {
    ticket: 0,
    exchange: "",
    routingKey: queue,
    mandatory: false,
    immediate: false,
  });
  await wire.header(1, 1001);
  await wire.frame(3, 1, Buffer.alloc(1001));
  const close = await wire.expect("channel.close");
  assert.deepEqual([close.replyCode, close.replyText], [
    406,
    "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
  ]);
  await wire.send(1, "channel.close-ok", {});
  await wire.send(1, "channel.open", { outOfBand: "" });
  await wire.expect("channel.open-ok");
  await wire.send(1, "queue.declare", declared);
  assert.equal((await wire.expect("queue.declare-ok")).messageCount, 1);
});

Deno.test("more connections than allowed are closed at once", async () => {
  await using broker = await startBroker({ port: 0, maxConnections: 1 });
  const connection = await amqp.connect(broker.url);
  await using wire = await Wire.connect(broker.url);
  assert.equal(await wire.read(), undefined);
  await connection.createChannel();
  await connection.close();
});

Deno.test("who says nothing makes room for who logs in", async () => {
  await using broker = await startBroker({ port: 0, maxConnections: 10 });
  const first = await amqp.connect(broker.url);
  const idle = await Promise.all(Array.from({ length: 100 }, () => Wire.connect(broker.url)));
  const second = await within(amqp.connect(broker.url), "a connection beside idle ones");
  await first.createChannel();
  await second.createChannel();
  for (const wire of idle) await wire[Symbol.asyncDispose]();
  await second.close();
  await first.close();
});

Deno.test("with too few file descriptors a broker lives, takes who logs in, and says so once", async () => {
  const directory = await Deno.makeTempDir({ prefix: "event-sink-amqp-" });
  try {
    const options = { quiet: true, descriptors: 64 };
    await using broker = await spawnBroker(`${directory}/broker.db`, options);
    const first = await amqp.connect(broker.url);
    const idle = await Promise.all(Array.from({ length: 300 }, () => Wire.connect(broker.url)));
    await until(() => broker.logged !== "", "a log line");
    for (let i = 0; i < 3; i++) {
      const connection = await within(amqp.connect(broker.url), "a connection beside idle ones");
      const channel = await connection.createConfirmChannel();
      await channel.assertQueue("q");
      channel.sendToQueue("q", Buffer.from("x"), { persistent: true });
      await channel.waitForConfirms();
      await connection.close();
    }
    assert.equal((await (await first.createChannel()).checkQueue("q")).messageCount, 3);
    for (const wire of idle) await wire[Symbol.asyncDispose]();
    await first.close();
    const lines = broker.logged.split("\n").filter((line) => line.startsWith("Cannot accept"));
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /Too many open files .*ulimit -n`$/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("half-open connections and logins that never end are dropped", async () => {
  await using broker = await startBroker({ port: 0, handshakeTimeout: 100 });
  await using silent = await Wire.connect(broker.url);
  await using header = await Wire.connect(broker.url);
  await header.bytes(Buffer.from("AMQP\0\0\x09\x01", "latin1"));
  await header.expect("connection.start");
  await using tuned = await Wire.login(broker.url);
  await tuned.expect("connection.tune");
  await using rude = await Wire.open(broker.url);
  await rude.send(1, "channel.flow", { active: false });
  await rude.expect("connection.close"); // and no close-ok
  for (const wire of [silent, header, tuned, rude]) assert.equal(await wire.read(), undefined);
});

Deno.test("a client that sends no heartbeats is dropped, its deliveries go back, and the log says so", async () => {
  const logged: string[] = [];
  await using broker = await startBroker({ port: 0, log: (text) => logged.push(text) });
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("q");
  channel.sendToQueue("q", Buffer.from("x"));
  await channel.waitForConfirms();
  await using dead = await Wire.login(broker.url);
  await dead.expect("connection.tune");
  await dead.send(0, "connection.tune-ok", { channelMax: 10, frameMax: 131072, heartbeat: 1 });
  await dead.send(0, "connection.open", { virtualHost: "/", capabilities: "", insist: false });
  await dead.expect("connection.open-ok");
  await dead.send(1, "channel.open", { outOfBand: "" });
  await dead.expect("channel.open-ok");
  await dead.send(1, "basic.get", { ticket: 0, queue: "q", noAck: false });
  await dead.expect("basic.get-ok");
  await until(
    async () => (await channel.checkQueue("q")).messageCount === 1,
    "it back in its queue",
  );
  assert.deepEqual(logged, [
    "Connection from 127.0.0.1 closed: nothing came from it for two heartbeats of 1 s",
  ]);
  await connection.close();
});
