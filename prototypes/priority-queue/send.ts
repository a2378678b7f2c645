#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message with a priority to the queue priority_queue.
 *
 * Run: `deno task send --priority 9 "at once"`.
 * @module
 */
import { numberFlag, send } from "@event-sink/lib";

const queue = "priority_queue";

await send(import.meta, {
  about: "Send a message with a priority to the queue priority_queue.",
  flags: {
    priority: numberFlag("0 (last) to 10 (first)", {
      default: 0,
      max: 10,
      whole: true,
    }),
  },
  async declare(channel) {
    // queue.declare with x-max-priority; a quorum queue would have two priorities only
    const classic = { "x-queue-type": "classic" };
    await channel.assertQueue(queue, { durable: true, maxPriority: 10, arguments: classic });
  },
}, async (publisher, { body, properties }, { flags: { priority } }) => {
  // basic.publish; within the queue the priority decides, among equals the order in which they came.
  await publisher.publish({ routingKey: queue, body, properties: { ...properties, priority } });
});
