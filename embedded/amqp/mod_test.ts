import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import amqp from "amqplib";
import { startBroker } from "./mod.ts";

Deno.test("startBroker() rejects with the address when its port is in use", async () => {
  await using broker = await startBroker({ port: 0 });
  await assert.rejects(
    startBroker({ port: broker.port }),
    (error: Error) => error.message.startsWith(`Cannot listen on 127.0.0.1:${broker.port}: `),
  );
});

Deno.test("startBroker() refuses guest's password, and an empty one, on an address that is not loopback", async () => {
  for (
    const options of [
      {},
      { user: "me" },
      { password: "mine" },
      { user: "me", password: "" },
      { user: "", password: "mine" },
    ]
  ) {
    await assert.rejects(
      startBroker({ hostname: "0.0.0.0", port: 0, ...options }),
      /^Error: Cannot listen on 0\.0\.0\.0:0: an address that is not loopback needs/,
    );
  }
  await using broker = await startBroker({
    hostname: "0.0.0.0",
    port: 0,
    user: "me",
    password: "p@ss:word",
  });
  const connection = await amqp.connect(broker.url);
  await connection.close();
});

Deno.test("a broker that is disposed tells its clients and frees its port", async () => {
  const broker = await startBroker({ port: 0 });
  const connection = await amqp.connect(broker.url);
  const closed = new Promise<Error>((resolve) => connection.on("close", resolve));
  await broker[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
  assert.match(String(await closed), /320 \(CONNECTION-FORCED\)/);
  await using _again = await startBroker({ port: broker.port });
});

Deno.test("virtual hosts are apart from each other", async () => {
  await using broker = await startBroker({ port: 0, vhosts: ["/", "other"] });
  const one = await amqp.connect(broker.url);
  const two = await amqp.connect(broker.url + "/other");
  two.on("error", () => {});
  await (await one.createChannel()).assertQueue("q");
  const channel = await two.createChannel();
  channel.on("error", () => {});
  await assert.rejects(channel.checkQueue("q"), /no queue 'q' in vhost 'other'/);
  await one.close();
  await two.close();
});

Deno.test("a delivery that is kept too long closes its channel and goes back", async () => {
  await using broker = await startBroker({ port: 0, consumerTimeout: 100 });
  const connection = await amqp.connect(broker.url);
  const channel = await connection.createChannel();
  const failed = new Promise<Error>((resolve) => channel.once("error", resolve));
  await channel.assertQueue("q");
  channel.sendToQueue("q", Buffer.from("x"));
  await channel.consume("q", () => {});
  assert.match(
    String(await failed),
    /406 .*delivery acknowledgement on channel 1 timed out\. Timeout value used: 100 ms\./,
  );
  const other = await connection.createChannel();
  const message = await other.get("q", { noAck: true });
  assert.ok(message && message.fields.redelivered);
  await connection.close();
});
