/**
 * From publish to delivery at 1,000 persistent messages a second, the embedded broker against RabbitMQ, same client (amqplib).
 *
 * Run: `deno task latency [SECONDS]`
 * @module
 */
import { Buffer } from "node:buffer";
import amqplib from "amqplib";
import { event, median, rabbitUrl, startUp } from "./measure.ts";

const seconds = Number(Deno.args[0] ?? 5);
const queue = "event-sink.bench.latency";
await using up = await startUp();
for (let round = 1; round <= 3; round++) {
  const ours = await latencies(up.amqpUrl);
  const rabbit = await latencies(rabbitUrl);
  console.log(
    `latency at 1,000/s, round ${round}: embedded ${text(ours)}, RabbitMQ ${text(rabbit)}: median ${
      (median(ours) / median(rabbit)).toFixed(2)
    } times`,
  );
}

function text(latencies: number[]): string {
  const p99 = latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)]!;
  return `p50 ${median(latencies).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
}

async function latencies(url: string): Promise<number[]> {
  const publishing = await amqplib.connect(url, { noDelay: true });
  const consuming = await amqplib.connect(url, { noDelay: true });
  const publisher = await publishing.createChannel();
  const consumer = await consuming.createChannel();
  await consumer.assertQueue(queue, { durable: true });

  const count = seconds * 1000;
  const published: number[] = [];
  const taken: number[] = [];
  const all = Promise.withResolvers<void>();
  await consumer.consume(queue, (message) => {
    taken.push(performance.now() - published[taken.length]!);
    consumer.ack(message!);
    if (taken.length === count) all.resolve();
  });
  const started = performance.now();
  for (let number = 0; number < count; number++) {
    const early = started + number - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    published.push(performance.now());
    publisher.sendToQueue(queue, Buffer.from(event(number)), { persistent: true });
  }
  await all.promise;

  await consumer.close(); // after all acknowledgements
  await publisher.deleteQueue(queue);
  await consuming.close();
  await publishing.close();
  return taken;
}
