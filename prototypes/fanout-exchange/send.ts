#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message to every queue of the fanout exchange logs.
 *
 * Run: `deno task send "a log line"`, or `deno task send --file app.log`.
 * @module
 */
import { send } from "@event-sink/lib";

await send(import.meta, {
  about: "Send a message to every queue of the fanout exchange logs.",
  async declare(channel) {
    await channel.assertExchange("logs", "fanout", { durable: true }); // exchange.declare
    // An exchange keeps nothing. This queue keeps what is sent before the first recv was ever started.
    await channel.assertQueue("logs.default", { durable: true }); // queue.declare
    await channel.bindQueue("logs.default", "logs", ""); // queue.bind
  },
}, async (publisher, content) => {
  // basic.publish: a fanout exchange ignores the routing key. The broker confirms when every queue has its copy.
  await publisher.publish({ ...content, exchange: "logs", routingKey: "" });
});
