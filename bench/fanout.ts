/**
 * A fanout to ten queues, the embedded broker against RabbitMQ, same client (amqplib): persistent publish with confirms, consume with
 * acknowledge at the same time.
 *
 * Run: `deno task fanout [COUNT]`
 * @module
 */
import { Buffer } from "node:buffer";
import amqplib from "amqplib";
import { compare, event, rabbitUrl, startUp } from "./measure.ts";

const count = Number(Deno.args[0] ?? 10_000);
const exchange = "event-sink.bench.fanout";
const queues = Array.from({ length: 10 }, (_, number) => `${exchange}.${number}`);
await using up = await startUp();
for (let round = 1; round <= 3; round++) {
  compare(
    `fanout to 10 queues, deliveries, round ${round}`,
    ["embedded", await deliveriesPerSecond(up.amqpUrl)],
    ["RabbitMQ", await deliveriesPerSecond(rabbitUrl)],
  );
}

async function deliveriesPerSecond(url: string): Promise<number> {
  const publishing = await amqplib.connect(url, { noDelay: true });
  const consuming = await amqplib.connect(url, { noDelay: true });
  const publisher = await publishing.createConfirmChannel();
  const consumer = await consuming.createChannel();
  await consumer.prefetch(500);
  await consumer.assertExchange(exchange, "fanout", { durable: true });
  for (const queue of queues) {
    await consumer.assertQueue(queue, { durable: true });
    await consumer.bindQueue(queue, exchange, "");
  }

  const started = performance.now();
  let received = 0;
  const all = Promise.withResolvers<void>();
  for (const queue of queues) {
    await consumer.consume(queue, (message) => {
      consumer.ack(message!);
      if (++received === count * queues.length) all.resolve();
    });
  }
  for (let number = 0; number < count; number++) {
    publisher.publish(exchange, "", Buffer.from(event(number)), { persistent: true });
    if (number % 1000 === 999) await publisher.waitForConfirms();
  }
  await all.promise;
  const seconds = (performance.now() - started) / 1000;

  await consumer.close(); // after all acknowledgements
  for (const queue of queues) await publisher.deleteQueue(queue);
  await publisher.deleteExchange(exchange);
  await consuming.close();
  await publishing.close();
  return count * queues.length / seconds;
}
