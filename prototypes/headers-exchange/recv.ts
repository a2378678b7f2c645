#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL
/**
 * Print the messages of the headers exchange header_logs that have the headers given.
 *
 * Run: `deno task recv --match any format=pdf type=report` in one terminal, `deno task send --header format=pdf "a file"` in another.
 * @module
 */
import {
  brokerFlags,
  choiceFlag,
  connectBroker,
  consume,
  printable,
  runTool,
  UsageError,
} from "@event-sink/lib";

const deadLetters = "header_logs.dlq";

await runTool(import.meta, {
  longRunning: true,
  about: "Print the messages of the headers exchange header_logs that have the headers given.",
  notes: `Dead-letter queue: ${deadLetters}`,
  arguments: "<headers...>",
  flags: {
    ...brokerFlags,
    match: choiceFlag("whether a message must have all of the headers, or any of them", [
      "all",
      "any",
    ], {
      value: "all|any",
      default: "all",
    }),
  },
}, async ({ flags, words, signal, log, print }) => {
  const pairs = words.map(pairOf);
  const wanted = Object.fromEntries(pairs);
  if (Object.keys(wanted).length < pairs.length) {
    throw new UsageError("a header is given twice: a binding compares each with one value");
  }
  const queue = `header_logs.${crypto.randomUUID()}`; // of this recv alone
  await using broker = await connectBroker({ ...flags, signal, log });
  await consume(broker, {
    queue,
    async declare(channel) {
      await channel.assertExchange("header_logs", "headers", { durable: true }); // exchange.declare
      // queue.declare: it outlives a lost connection, and goes a minute after its recv
      await channel.assertQueue(queue, { durable: true, arguments: { "x-expires": 60_000 } });
      // queue.bind: what to match is in its arguments; there is no routing key
      await channel.bindQueue(queue, "header_logs", "", { "x-match": flags.match, ...wanted });
    },
    prefetch: 1, // basic.qos
    deadLetters,
    signal,
    ready: () => print(" [*] Waiting for messages. To exit press CTRL+C"),
  }, async (message) => { // basic.consume, basic.deliver
    const headers = JSON.stringify(message.properties.headers);
    await print(` [x] Received ${printable(headers)}:'${message.text}'`);
    await print(" [x] Done");
    message.ack(); // basic.ack
  });
});

function pairOf(word: string): [string, string] {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
  if (name === undefined) throw new UsageError(`expected headers as NAME=VALUE, not '${word}'`);
  // The broker leaves them out of the comparison: alone they would match everything.
  if (name.startsWith("x-")) throw new UsageError(`${name}: x- headers are not compared`);
  return [name, value!];
}
