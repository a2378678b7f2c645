/**
 * A prefetch for the whole channel.
 * @module
 */
import assert from "node:assert/strict";
import { publishAll, setup } from "./harness.ts";
import { Wire } from "./wire.ts";

/** The bodies that come until `count` are there; each is acknowledged when `ack`. */
async function take(wire: Wire, count: number, ack: boolean): Promise<string[]> {
  const bodies: string[] = [];
  while (bodies.length < count) {
    const { deliveryTag } = await wire.expect("basic.deliver");
    await wire.read();
    bodies.push((await wire.read())!.payload.toString());
    if (ack) await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
  }
  return bodies;
}

Deno.test("queues take turns under a channel-wide prefetch", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queues = ["a", "b", "c"].map((letter) => [letter, s.name()] as const);
  for (const [letter, queue] of queues) {
    await channel.assertQueue(queue);
    await publishAll(channel, "", queue, Array(30).fill(letter));
  }
  await using wire = await Wire.open(s.url);
  await wire.send(1, "basic.qos", { prefetchSize: 0, prefetchCount: 1, global: true });
  await wire.expect("basic.qos-ok");
  // Answers and deliveries mix, so that the first comes to an empty queue.
  for (const [, queue] of queues) await wire.consume(queue, { nowait: true });
  const taken = await take(wire, 30, true);
  // RabbitMQ notifies them in random order.
  for (const [letter] of queues) {
    assert.ok(taken.includes(letter), `${letter} in ${taken.join("")}`);
  }
});

Deno.test("a channel-wide prefetch that is used up holds consumers without acknowledgement, too", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [acked, free] = [s.name(), s.name()];
  for (const queue of [acked, free]) {
    await channel.assertQueue(queue);
    await publishAll(channel, "", queue, [queue]);
  }
  await using wire = await Wire.open(s.url);
  await wire.send(1, "basic.qos", { prefetchSize: 0, prefetchCount: 1, global: true });
  await wire.expect("basic.qos-ok");
  await wire.consume(acked);
  const { deliveryTag } = await wire.expect("basic.deliver");
  await wire.read();
  await wire.read();
  await wire.consume(free, { noAck: true });
  await wire.send(1, "basic.qos", { prefetchSize: 0, prefetchCount: 1, global: true });
  await wire.expect("basic.qos-ok"); // Nothing came before it.
  assert.equal(await s.count(free), 1);
  await wire.send(1, "basic.ack", { deliveryTag, multiple: false });
  assert.deepEqual(await take(wire, 1, false), [free]);
});
