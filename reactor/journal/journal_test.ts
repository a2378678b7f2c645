import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { layCable, startServers, unique } from "../../lib/testing.ts";
import type { ReactorEvent } from "../event.ts";
import { type Journal, openJournal } from "./journal.ts";
import { append } from "../testing/router.ts";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.mongoUrl));
  const client = new MongoClient(cable.url, { serverSelectionTimeoutMS: 500 });
  const db = client.db(unique("journal").replaceAll(".", "-"));
  stack.defer(async () => {
    cable.plug();
    await db.dropDatabase();
    await client.close();
  });
  const owned = stack.move();
  return { db, cable, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function events(count: number, namespace = "local"): ReactorEvent[] {
  return Array.from({ length: count }, (_, index) => ({
    namespace,
    event_type: "test",
    payload: { index, "$odd.name": null },
    timestamp: 1.5,
  }));
}

const numbers = (list: ReactorEvent[]) => list.map(({ number }) => number);
const since = async (journal: Journal, number: number, limit: number): Promise<ReactorEvent[]> =>
  (await journal.since(number, limit)).map((text) => JSON.parse(text));
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

Deno.test("the journal numbers events from 1, in order, and gives them back", async () => {
  await using test = await setup();
  const journal = await openJournal(test.db, { keep: 60 });
  assert.equal(await journal.last(), 0);
  const [first, second] = await Promise.all([
    append(journal, events(3)),
    append(journal, events(2)),
  ]);
  assert.deepEqual([...numbers(first), ...numbers(second)], [1, 2, 3, 4, 5]);
  assert.equal(await journal.last(), 5);
  assert.deepEqual(await since(journal, 1, 2), first.slice(1));
  assert.deepEqual(numbers(await since(journal, 3, 100)), [4, 5]);
});

Deno.test("since() gives no more large events at once than fit into memory", async () => {
  await using test = await setup();
  const journal = await openJournal(test.db);
  const payload = "x".repeat(3_000_000);
  const large = events(6).map((event) => ({ ...event, payload }));
  await append(journal, large);
  const read: ReactorEvent[] = [];
  while (read.length < 6) {
    const next = await since(journal, read.length, 500);
    assert(next.length > 0 && next.length < 5, `${next.length} events at once`);
    read.push(...next);
  }
  assert.deepEqual(numbers(read), upTo(6));
});

Deno.test("numbers go on when the journal is opened again, also after its events have expired", async () => {
  await using test = await setup();
  await append(await openJournal(test.db, { keep: 60 }), events(3));
  assert.deepEqual(numbers(await append(await openJournal(test.db), events(1))), [4]);
  await test.db.collection("journal").deleteMany({});
  const journal = await openJournal(test.db, { keep: 30 });
  assert.equal(await journal.last(), 4);
  assert.deepEqual(numbers(await append(journal, events(1))), [5]);
  const indexes = await test.db.collection("journal").indexes();
  assert.equal(indexes.find(({ key }) => key.at)?.expireAfterSeconds, 30);
});

Deno.test("two journals on one database never give a number twice, nor leave one out", async () => {
  await using test = await setup();
  const both = await Promise.all([openJournal(test.db, { keep: 60 }), openJournal(test.db)]);
  const written: ReactorEvent[] = [];
  await Promise.all(both.map(async (journal, index) => {
    for (let call = 0; call < 20; call++) {
      written.push(...await append(journal, events(25, `router${index}`)));
    }
  }));
  assert.deepEqual(numbers(written).toSorted((a, b) => a! - b!), upTo(1000));
  const stored = await since(both[0], 0, 2000);
  assert.deepEqual(numbers(stored), upTo(1000));
  assert.deepEqual(stored, written.toSorted((a, b) => a.number! - b.number!));
});

Deno.test("append() waits while MongoDB is away and writes each event once", async () => {
  await using test = await setup();
  const warnings: string[] = [];
  const log = { debug() {}, info() {}, warn: (text: string) => warnings.push(text) };
  const journal = await openJournal(test.db, { keep: 60, log });
  const appended: Promise<ReactorEvent[]>[] = [];
  for (let call = 0; call < 50; call++) {
    appended.push(append(journal, events(20)));
    if (call % 10 === 5) test.cable.cut("down");
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (call % 10 === 9) test.cable.plug();
  }
  assert.deepEqual((await Promise.all(appended)).flatMap(numbers), upTo(1000));
  assert.deepEqual(numbers(await since(journal, 0, 2000)), upTo(1000));
  assert.match(warnings.join(), /Waiting until it can/);
});
