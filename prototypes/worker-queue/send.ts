#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a task to the queue task_queue; every dot in it is a second of work.
 *
 * Run: `deno task send "a task..."`, or `deno task send --file tasks.txt`.
 * @module
 */
import { send } from "@event-sink/lib";

const queue = "task_queue";

await send(import.meta, {
  about: "Send a task to the queue task_queue; every dot in it is a second of work.",
  async declare(channel) {
    await channel.assertQueue(queue, { durable: true }); // queue.declare: durable, it outlives a restart of the broker
  },
}, async (publisher, content) => {
  // basic.publish, by way of the default exchange: a persistent message, as the queue alone does not save its tasks.
  // Resolves when the broker has confirmed the task.
  await publisher.publish({ ...content, exchange: "", routingKey: queue });
});
