import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { DatabaseSync } from "node:sqlite";
import { Message } from "../message/message.ts";
import { type Entry, Queue, type QueueHost } from "../queue/queue.ts";
import { parseQueueArgs } from "../queue/settings.ts";
import { Store } from "./store.ts";

async function temporary() {
  const path = await Deno.makeTempDir({ prefix: "event-sink-store-" });
  return {
    file: `${path}/broker.db`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Durable queues 1 and 2 whose messages go to `store`. */
function queuesOf(store: Store): [Queue, Queue] {
  let position = 2;
  const host: QueueHost = {
    now: () => 0,
    nextPosition: () => ++position,
    store: (entry) => store.add(entry),
    unstore: (entry) => store.remove(entry),
    hold() {},
    release() {},
    storeFate() {},
    deadLetter() {},
    sendLetters() {},
    removeQueue() {},
  };
  const make = (id: number) => {
    const settings = parseQueueArgs("q", new Map());
    return new Queue(host, id, "/", `q${id}`, true, false, undefined, new Map(), settings);
  };
  return [make(1), make(2)];
}

function message(): Message {
  return new Message(Buffer.alloc(10_002), 0, 2, 0, 10_000, "", "", true, 0, -1, []);
}

/** Lets the file grow by `pages`, as a disk with so much space would. */
function limit(store: Store, pages: number): void {
  const { db } = store as unknown as { db: DatabaseSync };
  const { page_count: now } = db.prepare("pragma page_count").get() as { page_count: number };
  db.exec(`pragma max_page_count = ${now + pages}`);
}

/** Queue and position of each entry that is on disk. */
function stored(store: Store): [queue: number, position: number][] {
  return [...store.load()].map(({ queue, position }) => [queue, position]);
}

Deno.test("a commit that fails writes nothing and forgets nothing", async () => {
  await using directory = await temporary();
  const store = new Store(directory.file);
  const [one, two] = queuesOf(store);
  one.publish(message()); // 3
  store.commit();
  const before = stored(store);

  limit(store, 5);
  const get = (queue: Queue): Entry => queue.get()!;
  one.settle(get(one)); // 3 is acknowledged, the commit of that fails with the rest
  const shared = message();
  one.publish(shared); // 4
  two.publish(shared); // 5
  for (let i = 0; i < 10; i++) two.publish(message()); // 6 to 15
  store.set({ kind: "queue", name: "q", definition: 1 });
  for (let i = 0; i < 3; i++) {
    assert.throws(() => store.commit(), /database or disk is full/);
    assert.ok(store.dirty && store.isPending({ kind: "queue", name: "q" }));
    assert.deepEqual(stored(store), before);
  }
  // What is acknowledged before it was stored never will be; 4 now has its message for itself.
  two.settle(get(two)); // 5
  two.settle(get(two)); // 6
  assert.throws(() => store.commit());
  assert.equal(store.backlog, 11); // 3 to be deleted, 4 and 7 to 15 to be added

  limit(store, 1000);
  store.commit();
  assert.ok(!store.dirty && !store.isPending({ kind: "queue", name: "q" }));
  one.settle(get(one)); // 4, of which the row must be known
  store.commit();
  assert.deepEqual(store.loadEntities(), [{ kind: "queue", name: "q", definition: 1 }]);
  store.close();
  const again = new Store(directory.file);
  assert.deepEqual(stored(again), Array.from({ length: 9 }, (_, i) => [2, i + 7]));
  again.close();
});
