import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import amqp from "amqplib";
import { getAll, until, within } from "./contract/harness.ts";
import { Wire } from "./contract/wire.ts";
import { startBroker } from "./mod.ts";
import { type BrokerProcess, spawnBroker } from "./testing.ts";

/** How often the broker is killed. */
const kills = Number(Deno.env.get("KILLS") ?? 50);

/** A directory that goes with the test. */
async function makeDirectory() {
  const path = await Deno.makeTempDir({ prefix: "event-sink-amqp-" });
  return {
    file: `${path}/broker.db`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A small reproducible generator of numbers in [0, 1). */
function makeRandom(seed: number): () => number {
  return () => {
    seed = (seed * 1664525 + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

Deno.test(`kill -9 ${kills} times under load loses nothing confirmed, brings back nothing settled`, async () => {
  await using directory = await makeDirectory();
  const random = makeRandom(7);
  const confirmed = new Set<number>();
  const delivered = new Set<number>();
  const settled = new Set<number>();
  let next = 0;
  let returned = 0;
  let broker: BrokerProcess | undefined;

  const connect = async () => {
    const connection = await within(amqp.connect(broker!.url), "connection");
    connection.on("error", () => {});
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {});
    await channel.assertExchange("load", "fanout");
    for (const queue of ["work", "copy"]) {
      await channel.assertQueue(queue);
      await channel.bindQueue(queue, "load", "");
    }
    return { connection, channel };
  };

  for (let round = 0; round < kills; round++) {
    broker = await spawnBroker(directory.file);
    const { connection, channel } = await connect();
    /** Acknowledgements in the order they were sent to this process; those to an earlier one may have been lost. */
    const acknowledged: number[] = [];
    let alive = true;
    connection.on("close", () => alive = false);
    let inFlight = 0;
    const publish = () => {
      while (alive && inFlight < 50) {
        const id = next++;
        inFlight++;
        // An acknowledgement sent before a publish is committed with it at the latest.
        const before = acknowledged.length;
        channel.publish("load", "", Buffer.from(String(id)), { persistent: true }, (error) => {
          inFlight--;
          if (error) return;
          confirmed.add(id);
          for (let i = before - 1; i >= 0 && !settled.has(acknowledged[i]!); i--) {
            settled.add(acknowledged[i]!);
          }
          publish();
        });
      }
    };
    await channel.prefetch(20);
    await channel.consume("work", (message) => {
      if (!message) return;
      const id = Number(message.content.toString());
      if (settled.has(id)) returned++;
      delivered.add(id);
      if (random() < 0.9) {
        acknowledged.push(id);
        channel.ack(message);
      } else channel.nack(message, false, true);
    });
    const target = confirmed.size + 50 + Math.floor(random() * 400);
    publish();
    await until(() => confirmed.size >= target, "confirms");
    await broker.kill();
    await until(() => !alive, "the end of the connection");
  }

  broker = await spawnBroker(directory.file);
  const { connection, channel } = await connect();
  const copies = new Set<number>();
  for (const [queue, found] of [["work", delivered], ["copy", copies]] as const) {
    let last = -1;
    for (;;) {
      const message = await channel.get(queue, { noAck: true });
      if (!message) break;
      const id = Number(message.content.toString());
      assert.ok(id > last, `${queue}: ${id} after ${last}`);
      last = id;
      if (queue === "work" && settled.has(id)) returned++;
      found.add(id);
    }
  }
  await connection.close();
  await broker.kill();
  const missing = [...confirmed].filter((id) => !delivered.has(id));
  const missingCopies = [...confirmed].filter((id) => !copies.has(id));
  assert.deepEqual({ missing, missingCopies, returned }, {
    missing: [],
    missingCopies: [],
    returned: 0,
  });
  assert.ok(confirmed.size > kills * 50 && settled.size > 0);
});

Deno.test("what was answered is on disk: kill -9 right after declare-ok, bind-ok, delete-ok and commit-ok", async () => {
  await using directory = await makeDirectory();
  const none = new Map();
  const named = { ticket: 0, nowait: false };
  const kinds = { durable: true, passive: false, autoDelete: false, arguments: none };
  // Each step is what the broker that is killed has answered last; the next one looks for it.
  const steps: ((wire: Wire) => Promise<void>)[] = [
    async (wire) => {
      await wire.send(1, "queue.declare", { ...named, ...kinds, queue: "q", exclusive: false });
      await wire.expect("queue.declare-ok");
    },
    async (wire) => {
      const exchange = { exchange: "x", type: "fanout", internal: false };
      await wire.send(1, "exchange.declare", { ...named, ...kinds, ...exchange });
      await wire.expect("exchange.declare-ok");
    },
    async (wire) => {
      const binding = { queue: "q", exchange: "x", routingKey: "", arguments: none };
      await wire.send(1, "queue.bind", { ...named, ...binding });
      await wire.expect("queue.bind-ok");
    },
    async (wire) => {
      await wire.send(1, "tx.select", {});
      await wire.expect("tx.select-ok");
      await wire.publish("x", "", "kept", 1, true);
      await wire.send(1, "tx.commit", {});
      await wire.expect("tx.commit-ok");
    },
    async (wire) => {
      await wire.send(1, "basic.get", { ticket: 0, queue: "q", noAck: false });
      const { deliveryTag } = await wire.expect("basic.get-ok");
      await wire.read();
      assert.equal((await wire.read())!.payload.toString(), "kept");
      await wire.send(1, "tx.select", {});
      await wire.expect("tx.select-ok");
      await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
      await wire.send(1, "tx.commit", {});
      await wire.expect("tx.commit-ok");
    },
    async (wire) => {
      const unused = { ifUnused: false, ifEmpty: false };
      await wire.send(1, "queue.delete", { ...named, ...unused, queue: "q" });
      assert.deepEqual(await wire.expect("queue.delete-ok"), { messageCount: 0 });
      await wire.send(1, "exchange.delete", { ...named, ifUnused: true, exchange: "x" });
      await wire.expect("exchange.delete-ok");
    },
    async (wire) => {
      await wire.send(1, "exchange.declare", {
        ...named,
        ...kinds,
        passive: true,
        exchange: "x",
        type: "",
        internal: false,
      });
      assert.equal((await wire.expect("channel.close")).replyCode, 404);
    },
  ];
  for (const step of steps) {
    await using broker = await spawnBroker(directory.file);
    await using wire = await Wire.open(broker.url);
    await step(wire);
    await broker.kill();
  }
});

Deno.test("what is durable is there after a restart, what is not is not", async () => {
  await using directory = await makeDirectory();
  {
    await using broker = await startBroker({ port: 0, file: directory.file });
    const connection = await amqp.connect(broker.url);
    const channel = await connection.createConfirmChannel();
    await channel.assertExchange("x", "topic", { alternateExchange: "amq.fanout" });
    await channel.assertExchange("gone-x", "direct", { durable: false });
    await channel.assertQueue("kept", { maxPriority: 3, messageTtl: 600_000 });
    await channel.assertQueue("gone", { durable: false });
    await channel.bindQueue("kept", "x", "a.*", { n: 1 });
    await channel.bindQueue("kept", "amq.headers", "", { "x-match": "any", h: "v" });
    for (
      const [body, priority, persistent] of [["1", 1, true], ["2", 3, true], ["3", 1, false], [
        "4",
        0,
        true,
      ]] as const
    ) {
      channel.publish("x", "a.b", Buffer.from(body), { priority, persistent, headers: { body } });
    }
    await channel.waitForConfirms();
    const first = await channel.get("kept");
    assert.ok(first && first.content.toString() === "2");
    const second = await channel.get("kept");
    channel.ack(second as never);
    await channel.checkQueue("kept");
    await connection.close();
  }
  await using broker = await startBroker({ port: 0, file: directory.file });
  const connection = await amqp.connect(broker.url);
  connection.on("error", () => {});
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  // Redeclaring compares with what was stored.
  await channel.assertExchange("x", "topic", { alternateExchange: "amq.fanout" });
  assert.equal(
    (await channel.assertQueue("kept", { maxPriority: 3, messageTtl: 600_000 })).messageCount,
    2,
  );
  channel.publish("amq.headers", "", Buffer.from("5"), { headers: { h: "v" } });
  await channel.waitForConfirms();
  const found = [];
  for (;;) {
    const message = await channel.get("kept", { noAck: true });
    if (!message) break;
    found.push([
      message.content.toString(),
      message.fields.redelivered,
      message.fields.routingKey,
      message.properties.headers?.body,
    ]);
  }
  assert.deepEqual(found, [
    ["2", true, "a.b", "2"],
    // Position tells what was delivered: 4 was published before 1 was taken, but after it.
    ["4", false, "a.b", "4"],
    ["5", false, "", undefined],
  ]);
  await assert.rejects(channel.checkQueue("gone"), /404/);
  await connection.close();
});

Deno.test("a file that another broker has open is refused", async () => {
  await using directory = await makeDirectory();
  await using _first = await startBroker({ port: 0, file: directory.file });
  await assert.rejects(
    startBroker({ port: 0, file: directory.file }),
    /^Error: Cannot open .*broker\.db: database is locked$/,
  );
});

Deno.test("the file gives back what a purge freed, and keeps the rest", async () => {
  await using directory = await makeDirectory();
  const size = async () =>
    (await Deno.stat(directory.file)).size + (await Deno.stat(`${directory.file}-wal`)).size;
  {
    await using broker = await startBroker({ port: 0, file: directory.file });
    const connection = await amqp.connect(broker.url);
    const channel = await connection.createConfirmChannel();
    for (const queue of ["kept", "purged"]) await channel.assertQueue(queue);
    for (let i = 0; i < 300; i++) {
      for (const queue of ["kept", "purged", "purged", "purged"]) {
        channel.sendToQueue(queue, Buffer.alloc(30_000, i), { persistent: true });
      }
    }
    await channel.waitForConfirms();
    assert.ok(await size() > 36_000_000);
    await channel.purgeQueue("purged");
    // 9 MB are left, and some spare room.
    await until(async () => await size() < 15_000_000, "a smaller file");
    await connection.close();
  }
  await using broker = await startBroker({ port: 0, file: directory.file });
  const connection = await amqp.connect(broker.url);
  const found = await getAll(await connection.createChannel(), "kept");
  assert.deepEqual(
    found.map(({ content }) => content[29_999]),
    Array.from({ length: 300 }, (_, i) => i % 256),
  );
  await connection.close();
});
