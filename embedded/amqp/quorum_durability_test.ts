import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import amqp from "amqplib";
import { getAll, texts, until } from "./contract/harness.ts";
import { startBroker } from "./mod.ts";
import { spawnBroker } from "./testing.ts";

async function makeDirectory() {
  const path = await Deno.makeTempDir({ prefix: "event-sink-amqp-" });
  return {
    file: `${path}/broker.db`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

async function open(url: string) {
  const connection = await amqp.connect(url);
  connection.on("error", () => {}); // it is killed
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  const publish = async (queue: string, ...bodies: string[]) => {
    for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body));
    await channel.waitForConfirms();
  };
  const take = async (queue: string) => {
    const message = await channel.get(queue);
    assert.ok(message, queue);
    return message;
  };
  const count = async (queue: string) => (await channel.checkQueue(queue)).messageCount;
  return { connection, channel, publish, take, count };
}

const quorum = { "x-queue-type": "quorum" };
const atLeastOnce = {
  ...quorum,
  "x-dead-letter-exchange": "letters",
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

Deno.test("a quorum queue keeps messages that are not persistent, and how often they came back, over kill -9", async () => {
  await using directory = await makeDirectory();
  {
    await using broker = await spawnBroker(directory.file);
    const { channel, publish, take, count } = await open(broker.url);
    await channel.assertQueue("q", { arguments: quorum });
    await publish("q", "returned", "fresh");
    for (let i = 0; i < 3; i++) channel.nack(await take("q"), false, true);
    await publish("q", "last"); // Its confirm comes after the commit of all before it.
    assert.equal(await count("q"), 3);
    await broker.kill();
  }
  await using broker = await spawnBroker(directory.file);
  const { connection, channel } = await open(broker.url);
  const found = await getAll(channel, "q");
  assert.deepEqual(texts(found), ["returned", "fresh", "last"]);
  assert.deepEqual(found.map(({ properties }) => properties.headers?.["x-delivery-count"]), [
    3,
    undefined,
    undefined,
  ]);
  await connection.close();
});

Deno.test("a letter that no queue takes is kept over kill -9, and sent once one takes it", async () => {
  await using directory = await makeDirectory();
  {
    await using broker = await spawnBroker(directory.file);
    const { channel, publish, take } = await open(broker.url);
    await channel.assertExchange("letters", "fanout");
    await channel.assertQueue("q", { arguments: atLeastOnce });
    await publish("q", "1", "2", "3");
    for (let i = 0; i < 2; i++) channel.reject(await take("q"), false);
    await publish("q", "4");
    await broker.kill();
  }
  await using broker = await spawnBroker(directory.file);
  const { connection, channel, count } = await open(broker.url);
  assert.equal(await count("q"), 2); // It is dead: no consumer gets it again.
  await channel.assertQueue("dead");
  await channel.bindQueue("dead", "letters", "");
  await until(async () => await count("dead") === 2);
  const found = await getAll(channel, "dead");
  assert.deepEqual(texts(found), ["1", "2"]);
  assert.equal(found[0]!.properties.headers!["x-death"]![0]!.reason, "rejected");
  assert.deepEqual(texts(await getAll(channel, "q")), ["3", "4"]);
  await connection.close();
});

Deno.test("a letter goes on to the queue that was full, and not again to the one that has it", async () => {
  await using broker = await startBroker({ port: 0 });
  const { connection, channel, publish, take, count } = await open(broker.url);
  await channel.assertExchange("letters", "fanout");
  await channel.assertQueue("q", { arguments: atLeastOnce });
  await channel.assertQueue("all");
  await channel.assertQueue("full", {
    maxLength: 1,
    arguments: { "x-overflow": "reject-publish" },
  });
  for (const queue of ["all", "full"]) await channel.bindQueue(queue, "letters", "");
  await publish("full", "old");
  await publish("q", "1");
  channel.reject(await take("q"), false);
  await until(async () => await count("all") === 1);
  assert.deepEqual(texts(await getAll(channel, "full")), ["old"]);
  await until(async () => await count("full") === 1);
  assert.deepEqual(texts(await getAll(channel, "full")), ["1"]);
  assert.deepEqual(texts(await getAll(channel, "all")), ["1"]);
  await connection.close();
});

Deno.test("a letter and its source are never both lost, nor both kept, by kill -9", async () => {
  await using directory = await makeDirectory();
  for (let round = 0; round < 5; round++) {
    await using broker = await spawnBroker(directory.file);
    const { channel, publish } = await open(broker.url);
    await channel.assertExchange("letters", "fanout");
    await channel.assertQueue("dead");
    await channel.bindQueue("dead", "letters", "");
    await channel.assertQueue("q", { arguments: atLeastOnce });
    await publish("q", ...Array.from({ length: 200 }, (_, i) => `${round} ${i}`));
    let rejected = 0;
    await channel.consume("q", (message) => {
      if (!message) return;
      channel.reject(message, false);
      rejected++;
    });
    await until(() => rejected > 100);
    await broker.kill();
  }
  await using broker = await spawnBroker(directory.file);
  const { connection, channel } = await open(broker.url);
  const found = [...texts(await getAll(channel, "dead")), ...texts(await getAll(channel, "q"))];
  assert.equal(found.length, 1000);
  assert.equal(new Set(found).size, 1000);
  await connection.close();
});

Deno.test("a file of the version before is opened, with what is in it", async () => {
  await using directory = await makeDirectory();
  {
    await using broker = await startBroker({ port: 0, file: directory.file });
    const { connection, channel } = await open(broker.url);
    await channel.assertQueue("q");
    channel.sendToQueue("q", Buffer.from("old"), { persistent: true });
    await channel.waitForConfirms();
    await connection.close();
  }
  const db = new DatabaseSync(directory.file);
  db.exec("alter table message drop column died; drop table fate; pragma user_version = 1");
  db.close();
  await using broker = await startBroker({ port: 0, file: directory.file });
  const { connection, channel } = await open(broker.url);
  assert.deepEqual(texts(await getAll(channel, "q")), ["old"]);
  await connection.close();
});
