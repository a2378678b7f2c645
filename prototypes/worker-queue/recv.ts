#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Work on the tasks of the queue task_queue, one second per dot; several workers share it.
 *
 * Run: `deno task recv` in two terminals, `deno task send "a task..."` in a third.
 * @module
 */
import { numberFlag, pausePerDot, recv } from "@event-sink/lib";

await recv(import.meta, {
  about: "Work on the tasks of the queue task_queue, one second per dot; several workers share it.",
  queue: "task_queue",
  flags: { work: numberFlag("seconds of work per dot in a message", { default: 1 }) },
  async declare(channel, queue) {
    await channel.assertQueue(queue, { durable: true }); // queue.declare
  },
  // basic.qos: a worker has one task at a time, so that the next one goes to a worker that is free.
  // Without it the broker hands tasks out in turn, also to a worker that is still busy.
  prefetch: 1,
}, async (message, { print, flags, signal }) => { // basic.consume asks for tasks, each basic.deliver brings one
  await print(` [x] Received '${message.text}'`);
  await pausePerDot(message.text, flags.work, signal);
  await print(" [x] Done");
  message.ack(); // basic.ack, after the work: the task of a worker that dies in the middle goes to another one
});
