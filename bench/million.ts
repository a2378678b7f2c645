/**
 * A durable queue of a million 200-byte messages on the embedded broker: filled, killed with -9, started again, drained in order.
 *
 * Run: `deno task million [COUNT]`
 * @module
 */
import amqplib from "amqplib";
import { fill, startUp } from "./measure.ts";

const count = Number(Deno.args[0] ?? 1_000_000);
const queue = "event-sink.bench.million";
const data = await Deno.makeTempDir();
try {
  const first = await startUp("--data", data);
  const filled = await fill(first.amqpUrl, queue, count);
  console.log(
    `filled with ${count} messages in ${filled.toFixed(1)} s, ${await first.memory()} MB`,
  );
  first.kill();
  await first[Symbol.asyncDispose]();

  await using second = await startUp("--data", data);
  console.log(
    `ready ${(second.ready / 1000).toFixed(1)} s after a kill -9, ${await second.memory()} MB`,
  );
  const started = performance.now();
  const inOrder = await drainInOrder(second.amqpUrl);
  const seconds = (performance.now() - started) / 1000;
  console.log(`drained in ${seconds.toFixed(1)} s, ${inOrder ? "in order" : "OUT OF ORDER"}`);
} finally {
  await Deno.remove(data, { recursive: true });
}

async function drainInOrder(url: string): Promise<boolean> {
  const connection = await amqplib.connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  await channel.prefetch(1000);
  let received = 0;
  let inOrder = true;
  const all = Promise.withResolvers<void>();
  await channel.consume(queue, (message) => {
    inOrder &&= Number(message!.properties.messageId) === received;
    channel.ack(message!);
    if (++received === count) all.resolve();
  });
  await all.promise;
  await channel.close(); // after all acknowledgements
  await connection.close();
  return inOrder;
}
