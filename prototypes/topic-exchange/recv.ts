#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL
/**
 * Print the messages of the topic exchange topic_logs whose routing key matches a pattern.
 *
 * Run: `deno task recv "kern.*" "*.critical"` in one terminal, `deno task send kern.critical "disk full"` in another.
 * @module
 */
import { brokerFlags, connectBroker, consume, printable, runTool } from "@event-sink/lib";

const deadLetters = "topic_logs.dlq";

await runTool(import.meta, {
  longRunning: true,
  about: "Print the messages of the topic exchange topic_logs whose key matches a pattern.",
  notes:
    `A key is words between dots. In a pattern * stands for one word, # for any number of words, none
included; quote both for the shell:
  kern.critical   this key only
  kern.*          kern.info, kern.critical; neither kern nor kern.disk.critical
  kern.#          kern, kern.info, kern.disk.critical
  "#"             every key
A message that matches several patterns comes once. Dead-letter queue: ${deadLetters}`,
  arguments: "<patterns...>",
  flags: { ...brokerFlags },
}, async ({ flags, words: patterns, signal, log, print }) => {
  const queue = `topic_logs.${crypto.randomUUID()}`; // of this recv alone
  await using broker = await connectBroker({ ...flags, signal, log });
  await consume(broker, {
    queue,
    async declare(channel) {
      await channel.assertExchange("topic_logs", "topic", { durable: true }); // exchange.declare
      // queue.declare: it outlives a lost connection, and goes a minute after its recv
      await channel.assertQueue(queue, { durable: true, arguments: { "x-expires": 60_000 } });
      for (const pattern of patterns) await channel.bindQueue(queue, "topic_logs", pattern); // queue.bind
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
