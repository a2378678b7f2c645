import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Options } from "amqplib";
import { connectBroker } from "./broker.ts";
import { consume, type ConsumeOptions, type Message } from "./consume.ts";
import { createLog } from "./log.ts";
import { connectProbe, eventually, layCable, startServers, unique } from "./testing.ts";

/** A queue with the given arguments, and a consumer of it that is stopped in the end. */
async function setup(declaration: Record<string, unknown>) {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const cable = stack.use(layCable(amqpUrl));
  const queue = unique("limits");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true, arguments: declaration });
  const stop = new AbortController();
  const log = createLog({ name: "test", level: "error" });
  const broker = stack.use(await connectBroker({ amqpUrl: cable.url, signal: stop.signal, log }));
  let running: Promise<void> | undefined;
  stack.defer(async () => {
    stop.abort();
    await running;
  });
  const owned = stack.move();
  return {
    ...{ cable, queue, probe, broker },
    start(handler: (message: Message) => Promise<void> | void, more: Partial<ConsumeOptions> = {}) {
      const declare: ConsumeOptions["declare"] = (channel) => channel.checkQueue(queue);
      const common = { queue, declare, signal: stop.signal, retryDelay: 20 };
      running = consume(broker, { ...common, ...more }, handler);
    },
    send(text: string, options: Options.Publish = {}) {
      probe.channel.sendToQueue(queue, Buffer.from(text), { persistent: true, ...options });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("a message whose connection breaks again and again is not dropped by a delivery limit of 3", async () => {
  await using test = await setup({ "x-queue-type": "quorum", "x-delivery-limit": 3 });
  let handled = 0;
  const done = Promise.withResolvers<void>();
  test.start(async () => {
    if (++handled === 7) return done.resolve();
    test.cable.cut();
    await eventually(() => assert(test.broker.trouble));
  });
  test.send("text", { messageId: "m1" });
  await eventually(() => assert.equal(handled, 7));
  await done.promise;
});

Deno.test("a message that died in its queue before, and was put back with its history, is not dropped at its retry", async () => {
  await using test = await setup({ "x-queue-type": "classic" });
  const attempts: number[] = [];
  test.start(({ attempt, properties }) => {
    attempts.push(attempt);
    if (attempt < 3) throw new Error(`again: ${JSON.stringify(properties.headers)}`);
  });
  // As a shovel leaves it: RabbitMQ 3 takes a message that expires into a queue it has expired in before for a cycle, and drops it.
  const death = { count: 1, reason: "expired", queue: test.queue, exchange: "" };
  test.send("text", { headers: { "x-death": [{ ...death, "routing-keys": [test.queue] }] } });
  await eventually(() => assert.deepEqual(attempts, [1, 2, 3]));
});
