#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL
/**
 * Print the messages of the direct exchange direct_logs whose routing key is one of those given.
 *
 * Run: `deno task recv warning error` in one terminal, `deno task send error "disk full"` in another.
 * @module
 */
import { brokerFlags, connectBroker, consume, printable, runTool } from "@event-sink/lib";

const deadLetters = "direct_logs.dlq";

await runTool(import.meta, {
  longRunning: true,
  about: "Print the messages of the direct exchange direct_logs whose key is one of those given.",
  notes:
    `A key is compared as a whole: 'error' gets what is sent with 'error', not 'errors' or 'ERROR'.
Dead-letter queue: ${deadLetters}`,
  arguments: "<keys...>",
  flags: { ...brokerFlags },
}, async ({ flags, words: keys, signal, log, print }) => {
  const queue = `direct_logs.${crypto.randomUUID()}`; // of this recv alone
  await using broker = await connectBroker({ ...flags, signal, log });
  await consume(broker, {
    queue,
    async declare(channel) {
      await channel.assertExchange("direct_logs", "direct", { durable: true }); // exchange.declare
      // queue.declare: it outlives a lost connection, and goes a minute after its recv
      await channel.assertQueue(queue, { durable: true, arguments: { "x-expires": 60_000 } });
      for (const key of keys) await channel.bindQueue(queue, "direct_logs", key); // queue.bind, once for each key
    },
    prefetch: 1, // basic.qos
    deadLetters,
    signal,
    ready: () => print(" [*] Waiting for messages. To exit press CTRL+C"),
  }, async (message) => { // basic.consume, basic.deliver
    await print(` [x] Received '${printable(message.routingKey)}':'${message.text}'`);
    await print(" [x] Done");
    message.ack(); // basic.ack
  });
});
