import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Message } from "../message/message.ts";
import { type Consumer, type Entry, Queue, type QueueHost } from "./queue.ts";
import { parseQueueArgs } from "./settings.ts";
import type { Field, Table } from "../protocol/fields.ts";

/** A queue whose clock the test sets, and how many of its messages died. */
function setup(args: Record<string, string | number>) {
  const state = { now: 1_000_000, dead: 0, held: 0 };
  let position = 0;
  const host: QueueHost = {
    now: () => state.now,
    nextPosition: () => ++position,
    store() {},
    unstore() {},
    storeFate() {},
    sendLetters() {},
    hold: () => state.held++,
    release: () => state.held--,
    deadLetter: () => state.dead++,
    removeQueue() {},
  };
  const table: Table = new Map(
    Object.entries(args).map(([key, v]) => [
      key,
      (typeof v === "number" ? { t: "I", v } : { t: "S", v }) as Field,
    ]),
  );
  const settings = parseQueueArgs("queue 'q'", table);
  const queue = new Queue(host, 1, "/", "q", false, false, undefined, table, settings);
  return { state, queue, [Symbol.dispose]: () => queue.stop() };
}

function message(): Message {
  return new Message(Buffer.alloc(0), 0, 0, 0, 0, "", "q", false, 0, -1, []);
}

/** Milliseconds that `count` runs of `action` take, the best of three. */
function measure(count: number, action: () => unknown): number {
  let best = Infinity;
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    for (let i = 0; i < count; i++) action();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Consumes one message and gives it back or acknowledges it, in turn. */
function consumeOne(queue: Queue): void {
  for (const settle of ["requeue", "ack"]) {
    let taken: Entry | undefined;
    const consumer: Consumer = {
      tag: "c",
      priority: 0,
      exclusive: false,
      unacked: 0,
      canTake: () => taken === undefined,
      deliver: (entry) => taken = entry,
      cancelled() {},
    };
    queue.addConsumer(consumer);
    queue.drain();
    queue.removeConsumer(consumer);
    if (settle === "requeue") queue.requeue([taken!], true);
    else queue.settle(taken!);
  }
}

const cases: Record<string, Record<string, string | number>> = {
  "a TTL": { "x-message-ttl": 60_000 },
  "a full x-max-length": { "x-max-length": 1_000_000 },
  "priorities": { "x-max-priority": 10 },
};

for (const [what, args] of Object.entries(cases)) {
  Deno.test(`a million messages with ${what} make publishing and consuming no slower`, () => {
    using small = setup(args);
    using large = setup(args);
    for (let i = 0; i < 1000; i++) small.queue.publish(message());
    for (let i = 0; i < 1_000_000; i++) large.queue.publish(message());
    assert.equal(large.queue.length, 1_000_000);
    const step = (queue: Queue) => () => {
      queue.publish(message());
      consumeOne(queue);
    };
    const [before, after] = [measure(2000, step(small.queue)), measure(2000, step(large.queue))];
    // What grows with the length would be a thousand times as much.
    assert.ok(after < before * 20 + 50, `${before} ms with 1,000 messages, ${after} ms`);
  });
}

Deno.test("a million messages that expire together are all dead-lettered", () => {
  using fixture = setup({ "x-message-ttl": 1000, "x-dead-letter-exchange": "" });
  const { queue, state } = fixture;
  for (let i = 0; i < 1_000_000; i++) queue.publish(message());
  state.now += 1000;
  queue.dropExpired();
  assert.deepEqual([queue.length, queue.bytes, state.dead, state.held], [0, 0, 1_000_000, 0]);
});
