import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import amqp from "amqplib";
import { getAll, until, within } from "./contract/harness.ts";
import { Wire } from "./contract/wire.ts";
import { spawnBroker } from "./testing.ts";

async function run(command: string, ...args: string[]): Promise<boolean> {
  return (await new Deno.Command(command, { args, stderr: "null" }).output()).success;
}

/** A disk of 8 MB that can be filled; undefined where this user may not mount one. */
async function makeDisk() {
  const path = await Deno.makeTempDir({ prefix: "event-sink-disk-" });
  if (!await run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path)) {
    await Deno.remove(path);
    assert.ok(!Deno.env.get("CI"), "mount does not work here");
    console.log("mount does not work here: skipped");
    return undefined;
  }
  return {
    file: `${path}/broker.db`,
    /** Leave next to nothing. */
    async fill() {
      const ballast = await Deno.open(`${path}/ballast`, { write: true, create: true });
      const block = new Uint8Array(4096);
      try {
        for (;;) await ballast.write(block);
      } catch { /* full */ }
      ballast.close();
    },
    free: () => Deno.remove(`${path}/ballast`),
    async [Symbol.asyncDispose]() {
      await run("umount", path);
      await Deno.remove(path);
    },
  };
}

async function connect(url: string) {
  const connection = await within(amqp.connect(url), "connection");
  const errors: string[] = [];
  const blocked: string[] = [];
  const closed = new Promise<void>((resolve) => connection.on("close", () => resolve()));
  connection.on("error", (error) => errors.push(error.message));
  connection.on("blocked", (reason) => blocked.push(reason));
  connection.on("unblocked", () => blocked.push("unblocked"));
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  return { connection, channel, errors, blocked, closed };
}

type Client = Awaited<ReturnType<typeof connect>>;

/** Publish numbered messages of 1 kB; `confirmed` collects the numbers of those that were. */
function publish(
  { channel }: Client,
  queue: string,
  from: number,
  to: number,
  confirmed: number[],
) {
  for (let number = from; number < to; number++) {
    const body = Buffer.alloc(1000);
    body.writeUInt32BE(number);
    channel.sendToQueue(queue, body, { persistent: true }, (error) => {
      if (!error) confirmed.push(number);
    });
  }
}

async function numbersIn({ channel }: Client, queue: string): Promise<number[]> {
  return (await getAll(channel, queue)).map(({ content }) => content.readUInt32BE());
}

/** The ways to ask for something that has to be on disk before it is answered. */
const changes: Record<string, (client: Client) => Promise<unknown>> = {
  "queue.declare": ({ channel }) => channel.assertQueue("new"),
  // Now the queue is known, but not stored.
  "queue.declare, again": ({ channel }) => channel.assertQueue("new"),
  "exchange.declare": ({ channel }) => channel.assertExchange("x", "fanout"),
  "exchange.declare, again": ({ channel }) => channel.assertExchange("x", "fanout"),
  "queue.bind": ({ channel }) => channel.bindQueue("old", "amq.direct", "k"),
  "queue.bind, again": ({ channel }) => channel.bindQueue("old", "amq.direct", "k"),
  "queue.unbind": ({ channel }) => channel.unbindQueue("bound", "amq.direct", "k"),
  "queue.unbind, again": ({ channel }) => channel.unbindQueue("bound", "amq.direct", "k"),
  "queue.purge": ({ channel }) => channel.purgeQueue("purged"),
  "queue.delete": ({ channel }) => channel.deleteQueue("unwanted"),
  "queue.delete, again": ({ channel }) => channel.deleteQueue("unwanted"),
};

async function setUp(client: Client): Promise<void> {
  for (const queue of ["old", "bound", "full", "purged", "unwanted"]) {
    await client.channel.assertQueue(queue);
  }
  await client.channel.bindQueue("bound", "amq.direct", "k");
  for (const queue of ["full", "purged"]) publish(client, queue, 0, 3, []);
  await client.channel.waitForConfirms();
}

Deno.test("a full disk: nothing is confirmed that is not stored, all of it once there is space", async () => {
  await using disk = await makeDisk();
  if (!disk) return;
  await using broker = await spawnBroker(disk.file, { quiet: true });
  const publisher = await connect(broker.url);
  await setUp(publisher);
  await disk.fill();
  const confirmed: number[] = [];
  // What the file still has room for goes through; what is more waits, and is not nacked.
  let next = 0;
  await until(() => {
    if (publisher.blocked.length === 0) publish(publisher, "old", next, next += 100, confirmed);
    return publisher.blocked.length > 0;
  }, "blocked");
  assert.deepEqual(publisher.blocked, ["low on disk"]);
  assert.ok(confirmed.length < next);

  for (const [what, change] of Object.entries(changes)) {
    const client = await connect(broker.url);
    change(client).catch(() => {});
    await within(client.closed, `${what} refused`);
    assert.match(
      client.errors[0]!,
      /541 \(INTERNAL-ERROR\) with message "INTERNAL_ERROR - cannot store: the disk is full"/,
      what,
    );
  }
  await using wire = await Wire.open(broker.url);
  await wire.send(1, "tx.select", {});
  await wire.expect("tx.select-ok");
  await wire.send(1, "basic.get", { ticket: 0, queue: "full", noAck: false });
  const { deliveryTag } = await wire.expect("basic.get-ok");
  await wire.read();
  await wire.read();
  await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
  await wire.send(1, "tx.commit", {});
  assert.equal((await wire.expect("connection.close")).replyCode, 541);
  // What asks for nothing new is answered, and consumers go on.
  const reader = await connect(broker.url);
  await reader.channel.assertQueue("old");
  await reader.channel.assertQueue("transient", { durable: false });
  const first = await reader.channel.get("old", { noAck: false });
  assert.ok(first);
  await reader.connection.close();

  const before = confirmed.length;
  await disk.free();
  await until(() => confirmed.length === next, "confirms");
  await until(() => publisher.blocked.includes("unblocked"), "unblocked");
  assert.ok(before < next);
  await publisher.channel.assertQueue("new");
  const later: number[] = [];
  publish(publisher, "new", 0, 250, later);
  await publisher.channel.waitForConfirms();
  await broker.kill();
  assert.deepEqual(
    broker.logged.split("\n").map((line) => line.replace(/(\/\S*broker\.db)/, "FILE")),
    [
      "Cannot write FILE: the disk is full. Until it can be written, publishers are blocked, nothing is confirmed, " +
      "and changes of durable queues, exchanges and bindings are refused with 541",
      "FILE can be written again: publishers go on",
      "",
    ],
  );

  await using again = await spawnBroker(disk.file);
  const client = await connect(again.url);
  assert.deepEqual(await numbersIn(client, "old"), confirmed);
  assert.deepEqual(await numbersIn(client, "new"), later);
  await client.connection.close();
});

Deno.test("a full disk and kill -9: what was confirmed is there, a broker starts without any space", async () => {
  await using disk = await makeDisk();
  if (!disk) return;
  await using broker = await spawnBroker(disk.file, { quiet: true });
  const publisher = await connect(broker.url);
  await setUp(publisher);
  await disk.fill();
  const confirmed: number[] = [];
  let next = 0;
  await until(() => {
    if (publisher.blocked.length === 0) publish(publisher, "old", next, next += 100, confirmed);
    return publisher.blocked.length > 0;
  }, "blocked");
  await broker.kill();
  await publisher.closed;
  await using again = await spawnBroker(disk.file, { quiet: true });
  const client = await connect(again.url);
  const found = await numbersIn(client, "old");
  assert.deepEqual(found.slice(0, confirmed.length), confirmed);
  assert.equal((await client.channel.checkQueue("full")).messageCount, 3);
});
