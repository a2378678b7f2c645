/**
 * The embedded broker against RabbitMQ, same client (amqplib): persistent publish with confirms, consume with acknowledge. And the
 * embedded stack's start-up time and memory.
 *
 * Run: `deno task broker [COUNT]`
 * @module
 */
import { compare, drain, fill, rabbitUrl, remove, startUp } from "./measure.ts";

const count = Number(Deno.args[0] ?? 100_000);
const queue = "event-sink.bench";
await using up = await startUp();
console.log(`up: ready after ${up.ready.toFixed(0)} ms, ${await up.memory()} MB`);
for (let round = 1; round <= 3; round++) {
  const embedded = await fill(up.amqpUrl, queue, count);
  const rabbit = await fill(rabbitUrl, queue, count);
  compare(`publish and confirm, round ${round}`, ["embedded", count / embedded], [
    "RabbitMQ",
    count / rabbit,
  ]);
  const full = await up.memory();
  const drained = await drain(up.amqpUrl, queue, count);
  const drainedRabbit = await drain(rabbitUrl, queue, count);
  compare(`consume and acknowledge, round ${round}`, ["embedded", count / drained], [
    "RabbitMQ",
    count / drainedRabbit,
  ]);
  console.log(
    `up: ${full} MB with ${count} messages of 200 bytes, ${await up.memory()} MB without`,
  );
}
await remove(up.amqpUrl, queue);
await remove(rabbitUrl, queue);
