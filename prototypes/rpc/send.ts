#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL
/**
 * Ask the servers of the queue rpc_queue for fib(N), and print the answer.
 *
 * Run: `deno task send 30`.
 * @module
 */
import {
  aborted,
  brokerFlags,
  connectBroker,
  createPublisher,
  numberFlag,
  printable,
  runTool,
  shown,
  tracedProcess,
  within,
} from "@event-sink/lib";
import type { ConsumeMessage } from "amqplib";

const queue = "rpc_queue";

await runTool(import.meta, {
  about: "Ask the servers of the queue rpc_queue for fib(N), and print the answer.",
  arguments: "[N]",
  flags: {
    ...brokerFlags,
    timeout: numberFlag("seconds to wait for the answer", { default: 10, min: 0.1, max: 86_400 }),
  },
}, async ({ flags, words: [n = "30"], signal, log, print }) => {
  const timeout = flags.timeout * 1000;
  const correlationId = crypto.randomUUID(); // which request an answer belongs to
  const answered = Promise.withResolvers<ConsumeMessage>();
  await using broker = await connectBroker({
    ...flags,
    signal,
    log,
    timeout,
  });
  await using publisher = await createPublisher(broker, {
    async declare(channel) {
      await channel.assertQueue(queue, { durable: true }); // queue.declare
      // basic.consume of direct reply-to: no queue, answers come straight to this channel (https://www.rabbitmq.com/docs/direct-reply-to)
      await channel.consume("amq.rabbitmq.reply-to", (answer) => {
        if (answer?.properties.correlationId === correlationId) answered.resolve(answer);
      }, { noAck: true });
    },
    timeout,
    signal,
  });
  await print(` [x] Requesting fib(${printable(n)})`);
  // basic.publish; the broker puts this channel's own address in place of reply-to. A request that nobody has taken in time expires.
  const properties = { correlationId, replyTo: "amq.rabbitmq.reply-to", expiration: timeout };
  await publisher.publish({ routingKey: queue, body: n, properties });
  const answer = await Promise.race([within(timeout, answered.promise), aborted(signal)]);
  if (signal.aborted) throw new Error("Stopped before the answer has come");
  if (!answer) {
    throw new Error(`No answer within ${flags.timeout} s: is a server running (deno task recv)?`);
  }
  const text = shown(answer.content, 10_000);
  if (answer.properties.type === "error") throw new Error(`The server refuses: ${text}`);
  const where = { queue: "amq.rabbitmq.reply-to", attempt: 1, broker: broker.name };
  await tracedProcess(answer, where, () => print(` [.] Got ${text}`));
});
