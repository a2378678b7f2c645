import assert from "node:assert/strict";
import { connectBroker, type Outgoing } from "../mod.ts";
import { connectProbe, eventually, startServers, unique } from "../testing.ts";
import { openDatabase, outboxOf, publishOutbox } from "./mod.ts";

/** An outbox that is published to a queue, and what that logs. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const queue = unique("outbox");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  const directory = await Deno.makeTempDir({ prefix: "event-sink-outbox-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const database = stack.use(openDatabase(`${directory}/x.db`, ""));
  const outbox = outboxOf(database);
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const log = { debug() {}, info: say, warn: say, setLevel() {}, written: () => Promise.resolve() };
  const stop = new AbortController();
  const { signal } = stop;
  const broker = stack.use(await connectBroker({ amqpUrl, signal, log }));
  const publishing = publishOutbox(broker, outbox, {
    messageOf: (event): Outgoing => ({
      routingKey: event === "lost" ? "nowhere" : queue,
      body: event,
    }),
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    signal,
    log,
  }).catch((error) => {
    if (error !== signal.reason) throw error;
  });
  stack.defer(async () => {
    stop.abort();
    await publishing;
  });
  const owned = stack.move();
  return {
    outbox,
    database,
    lines,
    take: async () => (await probe.take(queue)).content.toString(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("publishOutbox() publishes what is stored and added; what the broker does not take holds up nothing", async () => {
  await using test = await setup();
  test.outbox.add("first");
  assert.equal(await test.take(), "first");
  test.outbox.add("lost");
  await eventually(() =>
    assert.deepEqual(test.lines, ["Cannot publish: there is no queue 'nowhere'. The outbox waits"])
  );
  test.outbox.add("second");
  assert.equal(await test.take(), "second");
  await eventually(() =>
    assert.deepEqual(test.outbox.oldest().map(({ event }) => event), ["lost"])
  );
  test.outbox.remove(test.outbox.oldest());
  test.outbox.add("third");
  assert.equal(await test.take(), "third");
  await eventually(() => assert.equal(test.lines.at(-1), "The outbox is published again"));
  assert.equal(test.lines.length, 2);
});

Deno.test("publishOutbox() waits while the database fails", async () => {
  await using test = await setup();
  test.database.exec(`CREATE TRIGGER full BEFORE DELETE ON outbox
    BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`);
  test.outbox.add("first");
  assert.equal(await test.take(), "first");
  await eventually(() => assert.match(test.lines.join(), /The database fails: .*full\. Waiting/));
  test.database.exec("DROP TRIGGER full");
  await eventually(() => assert.equal(test.outbox.size(), 0));
  test.outbox.add("second");
  assert.equal(await test.take(), "second");
  // A quorum queue that is just being declared may have refused a message, which is told too.
  const told = test.lines.filter((line) => line.includes("database"));
  assert.deepEqual(told.slice(1), ["The database works again"]);
});
