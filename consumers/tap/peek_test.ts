import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectProbe, eventually, startServers, startTool, unique } from "../../lib/testing.ts";
import { createInbox } from "./inbox.ts";

/** A queue with messages 0, 1, 2, ... and what looks at it. */
async function setup(count: number, args: Record<string, unknown> = {}) {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const queue = unique("peek");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true, arguments: args });
  for (let n = 0; n < count; n++) {
    const options = { persistent: true, messageId: `m${n}` };
    probe.channel.sendToQueue(queue, Buffer.from(`${n}`), options);
  }
  await eventually(async () => assert.equal(await probe.waiting(queue), count));
  const owned = stack.move();
  return {
    ...{ amqpUrl, queue, probe },
    async look(...args: string[]): Promise<string[]> {
      const tool = owned.use(
        startTool("consumers/tap", "tap", ["--queue", queue, "--json", ...args], {
          AMQP_URL: amqpUrl,
        }),
      );
      const { code, stdout, stderr } = await tool.ended();
      assert.equal(code, 0, stderr);
      return stdout.trimEnd().split("\n").filter((line) => line)
        .map((line) => JSON.parse(line).body);
    },
    /** Takes everything out, in order. */
    async drain(): Promise<string[]> {
      const bodies: string[] = [];
      while (true) {
        const message = await probe.channel.get(queue, { noAck: true });
        if (!message) return bodies;
        bodies.push(message.content.toString());
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
const upTo = (count: number) => Array.from({ length: count }, (_, n) => `${n}`);

for (
  const [name, args] of [
    ["classic", { "x-queue-type": "classic" }],
    ["quorum", { "x-queue-type": "quorum", "x-delivery-limit": 1 }],
  ] as const
) {
  Deno.test(`--queue leaves a ${name} queue as it was, however often and however much it shows`, async () => {
    await using test = await setup(60, args);
    for (const count of [2, 1, 45, 3, 60, 1, 7, 20]) {
      assert.deepEqual(await test.look("--limit", `${count}`), upTo(count));
    }
    assert.deepEqual(await test.look(), upTo(20));
    assert.deepEqual(await test.look("--where", '{"body": {"$gte": 50}}', "--limit", "3"), [
      ...["50", "51", "52"],
    ]);
    assert.equal(await test.probe.waiting(test.queue), 60);
    assert.deepEqual(await test.drain(), upTo(60));
  });
}

Deno.test("--queue says that a queue is empty, or not there", async () => {
  await using test = await setup(0);
  assert.deepEqual(await test.look(), []);
  const env = { AMQP_URL: test.amqpUrl };
  await using tool = startTool("consumers/tap", "tap", ["--queue", "test.none"], env);
  const { code, stderr } = await tool.ended();
  assert.equal(code, 1);
  assert.match(stderr, /^There is no queue 'test\.none' at \S+\n$/);
});

Deno.test("--queue that is stopped gives back what it holds", async () => {
  await using test = await setup(5);
  const args = ["--queue", test.queue];
  await using tool = startTool("consumers/tap", "tap", args, { AMQP_URL: test.amqpUrl });
  await tool.closeStdout();
  assert.equal((await tool.status).code, 0);
  assert.deepEqual(await test.drain(), upTo(5));
});

Deno.test("createInbox() holds few large messages at once, and passes on all in order", async () => {
  await using test = await setup(0, { "x-queue-type": "classic" });
  const size = 2 ** 20;
  const channel = await test.probe.model.createChannel();
  for (let n = 0; n < 200; n++) {
    test.probe.channel.sendToQueue(test.queue, Buffer.alloc(size, n));
  }
  await eventually(async () => assert.equal(await test.probe.waiting(test.queue), 200));
  const inbox = await createInbox(channel, test.queue);
  const seen: number[] = [];
  const most = { messages: 0 };
  const done = Promise.withResolvers<void>();
  const passing = inbox.passOn(async (messages) => {
    // Whoever is slow gets no more than there is room for.
    if (seen.length === 0) {
      await eventually(async () => {
        const before = await test.probe.waiting(test.queue);
        await new Promise((resolve) => setTimeout(resolve, 200));
        assert.equal(await test.probe.waiting(test.queue), before);
        most.messages = 200 - before;
      });
    }
    seen.push(...messages.map(({ raw }) => raw.content[0]!));
    if (seen.length === 200) done.resolve();
  });
  await Promise.race([passing, done.promise]);
  assert.deepEqual(seen, Array.from({ length: 200 }, (_, n) => n));
  assert(most.messages < 80, `${most.messages} MiB at once`);
  passing.catch(() => {}); // it ends with the connection
});
