#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL
/**
 * Answer the requests of the queue rpc_queue: fib(N). Several servers share the work.
 *
 * Run: `deno task recv` in one terminal, `deno task send 30` in another.
 * @module
 */
import {
  BadMessage,
  brokerFlags,
  connectBroker,
  consume,
  createPublisher,
  numberFlag,
  pause,
  printable,
  runTool,
  traceOf,
} from "@event-sink/lib";

const queue = "rpc_queue";

await runTool(import.meta, {
  longRunning: true,
  about: "Answer the requests of the queue rpc_queue: fib(N). Several servers share the work.",
  notes: `Dead-letter queue: ${queue}.dlq`,
  flags: {
    ...brokerFlags,
    work: numberFlag("seconds of pretended work per request", { default: 0 }),
  },
}, async ({ flags, signal, log, print }) => {
  await using broker = await connectBroker({ ...flags, signal, log });
  await using publisher = await createPublisher(broker, { signal });
  await consume(broker, {
    queue,
    async declare(channel) {
      await channel.assertQueue(queue, { durable: true }); // queue.declare
    },
    prefetch: 1, // basic.qos: the next request goes to a server that is free
    attempts: 1, // its requester does not wait for further ones
    signal,
    ready: () => print(" [*] Waiting for messages. To exit press CTRL+C"),
  }, async (request) => { // basic.consume, basic.deliver
    const { replyTo, correlationId } = request.properties;
    if (!replyTo) throw new BadMessage("the request names no queue for its answer (reply-to)");
    await print(` [.] fib(${printable(request.text, 20)})`);
    await pause(flags.work * 1000, signal);
    // basic.publish to the default exchange: the routing key is the queue that the requester waits at. A queue that is gone is an error
    // (mandatory), and the request is dead-lettered; for direct reply-to, which is no queue, the broker would always say so.
    const mandatory = !replyTo.startsWith("amq.rabbitmq.reply-to.");
    const { type, body } = answerTo(request.text);
    const headers = traceOf(request.properties.headers);
    const properties = { type, correlationId, mandatory, headers };
    await publisher.publish({ routingKey: replyTo, body, properties });
    await print(" [x] Done");
    request.ack(); // basic.ack after the answer: the request of a server that dies before goes to another one
  });
});

function answerTo(text: string): { type: "answer" | "error"; body: string } {
  if (/^\d{1,4}$/.test(text)) return { type: "answer", body: `${fib(Number(text))}` };
  const wanted = `expected a whole number from 0 to 9999, not '${printable(text, 100)}'`;
  return { type: "error", body: wanted };
}

function fib(n: number): bigint {
  let [current, next] = [0n, 1n];
  for (let i = 0; i < n; i++) [current, next] = [next, current + next];
  return current;
}
