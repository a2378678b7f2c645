import assert from "node:assert/strict";
import { bytes, getAll, setup } from "./harness.ts";

/** By routing key: the patterns that it matches. An empty key has no words; a dot has one on either side, if empty ones. */
const matches: Record<string, string[]> = {
  "": ["", "#", "#.#"],
  "a": ["*", "#", "*.#", "#.*", "#.#", "a", "a.#", "#.a"],
  ".": ["#", "*.#", "#.*", "#.#", "*.*", "."],
  "a.": ["#", "*.#", "#.*", "#.#", "*.*", "a.#", "a.*", "a."],
  ".a": ["#", "*.#", "#.*", "#.#", "*.*", "#.a"],
  "a.b": ["#", "*.#", "#.*", "#.#", "*.*", "a.#", "a.*"],
  "a.b.a": ["#", "*.#", "#.*", "#.#", "a.#", "#.a"],
};
const patterns = ["", "*", "#", "*.#", "#.*", "#.#", "*.*", "a", "a.#", "a.*", "a.", ".", "#.a"];

Deno.test("a topic exchange counts the words of a key as RabbitMQ does", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const exchange = s.name();
  await channel.assertExchange(exchange, "topic");
  const queues = new Map(patterns.map((pattern) => [pattern, s.name()]));
  for (const [pattern, queue] of queues) {
    await channel.assertQueue(queue);
    await channel.bindQueue(queue, exchange, pattern);
  }
  const found: typeof matches = {};
  for (const key of Object.keys(matches)) {
    channel.publish(exchange, key, bytes("x"));
    await channel.waitForConfirms();
    found[key] = [];
    for (const [pattern, queue] of queues) {
      if ((await getAll(channel, queue)).length > 0) found[key].push(pattern);
    }
  }
  const sorted = (table: typeof matches) =>
    Object.fromEntries(Object.entries(table).map(([key, list]) => [key, list.toSorted()]));
  assert.deepEqual(sorted(found), sorted(matches));
});
