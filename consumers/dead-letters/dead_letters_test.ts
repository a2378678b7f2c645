import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { GetMessage, Options } from "amqplib";
import { startEmbedded } from "@event-sink/embedded";
import { BadMessage, connectBroker, consume, type Message } from "@event-sink/lib";
import { startLogging } from "../../lib/log.ts";
import {
  connectProbe,
  eventually,
  layCable,
  root,
  start,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";
import { queues } from "./queues.ts";

const folder = "consumers/dead-letters";

/** A dead letter to put into the test's dead-letter queue; the defaults are what consume() writes. */
interface Letter extends Options.Publish {
  body?: string | Buffer;
  reason?: string;
  from?: string;
}

async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("dead");
  const dlq = `${queue}.dlq`;
  const probe = stack.use(
    await connectProbe(servers.amqpUrl, { queues: [queue], exchanges: [queue] }),
  );
  await probe.channel.assertQueue(queue, { durable: true });
  await probe.channel.assertQueue(dlq, { durable: true });
  const owned = stack.move();
  return {
    amqpUrl: servers.amqpUrl,
    cable,
    queue,
    dlq,
    probe,
    tool: (...args: string[]) =>
      owned.use(
        startTool(folder, "dead-letters", [...args, "--queue", dlq], { AMQP_URL: cable.url }),
      ),
    async fill(letters: Letter[]) {
      const channel = await probe.model.createConfirmChannel();
      for (const { body = "", reason = "it is bad", from = queue, ...options } of letters) {
        channel.publish("", dlq, Buffer.from(body), {
          persistent: true,
          headers: {
            "x-attempts": 5,
            "x-reason": reason,
            "x-original-exchange": "some exchange",
            "x-original-routing-key": "some.key",
            "x-original-queue": from,
          },
          ...options,
        });
      }
      await channel.waitForConfirms();
      await channel.close();
    },
    /** What is in a queue, which stays. */
    async look(name: string): Promise<GetMessage[]> {
      const channel = await probe.model.createChannel();
      const found: GetMessage[] = [];
      for (let message; (message = await channel.get(name));) found.push(message);
      await channel.close();
      return found;
    },
    /** The ids of what is in a queue, in order; waits until `count` are. */
    async ids(name: string, count: number): Promise<string[]> {
      await eventually(async () => assert.equal(await probe.count(name), count));
      return (await this.look(name)).map(({ properties }) => properties.messageId);
    },
    /** Consumes the original queue, until the test ends. */
    async consume(handler: (message: Message) => Promise<void> | void) {
      const stop = new AbortController();
      const log = startLogging("test", "error", "text");
      const broker = await connectBroker({ url: servers.amqpUrl, signal: stop.signal, log });
      const ready = Promise.withResolvers<void>();
      const running = consume(broker, {
        queue,
        declare: (channel) => channel.assertQueue(queue, { durable: true }),
        prefetch: 100,
        signal: stop.signal,
        ready: ready.resolve,
      }, handler);
      owned.defer(async () => {
        stop.abort();
        await running;
        await broker[Symbol.asyncDispose]();
      });
      await ready.promise;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Test = Awaited<ReturnType<typeof setup>>;

const numbered = (count: number, more: (n: number) => Letter = () => ({})) =>
  Array.from({ length: count }, (_, n) => ({ messageId: `m${n}`, ...more(n) }));
const many = numbered(20_000, (n) => ({ body: `{"number":${n},"text":"${"x".repeat(100)}"}` }));
const idsOf = (letters: Letter[]) => letters.map(({ messageId }) => messageId);

Deno.test("list shows how many messages and consumers a queue has", async () => {
  await using test = await setup();
  await test.fill(numbered(3));
  const { code, stdout, stderr } = await test.tool("list").ended();
  assert.equal(code, 0, stderr);
  const [head, line, ...rest] = stdout.trimEnd().split("\n");
  assert.match(head!, /^queue +messages +consumers$/);
  assert.deepEqual(line!.split(/ +/), [test.dlq, "3", "0"]);
  assert.deepEqual(rest, []);
  assert.deepEqual(
    JSON.parse((await test.tool("list", "--json").ended()).stdout),
    { queue: test.dlq, messages: 3, consumers: 0 },
  );
});

Deno.test("without --queue every known queue is looked at, and one that does not exist is absent", async () => {
  await using servers = await startEmbedded();
  const names = ["process_failed", "hello.dlq", "hello"];
  await using probe = await connectProbe(servers.amqpUrl);
  const tool = (...args: string[]) =>
    startTool(folder, "dead-letters", args, { AMQP_URL: servers.amqpUrl }).ended();
  assert.equal((await tool("list")).stdout, "There is no dead-letter queue yet\n");
  for (const name of names) await probe.channel.assertQueue(name, { durable: true });
  const headers = { "x-original-queue": "hello" };
  probe.channel.sendToQueue("hello.dlq", Buffer.from("a"), { headers });
  probe.channel.sendToQueue("process_failed", Buffer.from("b"), { headers });
  await eventually(async () => assert.equal(await probe.count("process_failed"), 1));
  assert.equal(
    (await tool("list")).stdout,
    "queue           messages  consumers\n" +
      "hello.dlq              1          0\nprocess_failed         1          0\n",
  );
  const shown = await tool("show");
  assert.match(
    shown.stdout,
    /in hello\.dlq\n[^]*body +a\n[^]*in process_failed\n[^]*body +b\n2 of 2 messages shown\n$/,
  );
  assert.equal(
    (await tool("replay")).stdout,
    "Replayed 1 message from hello.dlq to hello\nReplayed 1 message from process_failed to hello\n",
  );
  assert.equal(await probe.count("hello"), 2);
  probe.channel.sendToQueue("hello.dlq", Buffer.from("a"));
  await eventually(async () => assert.equal(await probe.count("hello.dlq"), 1));
  assert.equal((await tool("purge", "--yes")).stdout, "Removed 1 message from hello.dlq\n");
  assert.equal((await tool("purge", "--yes")).stdout, "There is nothing to purge\n");
  assert.equal((await tool("replay")).stdout, "There is nothing to replay\n");
});

Deno.test("show shows reason, attempts, age, origin and body, and leaves all as it was", async () => {
  await using test = await setup();
  const minutes = Math.floor(Date.now() / 1000) - 300;
  await test.fill([
    { messageId: "first", body: "hello...", reason: "no such user", timestamp: minutes },
    { messageId: "second", body: Buffer.from("caf\xe9", "latin1"), reason: "a\x1b[2J\nb" },
    { messageId: "third", body: "x".repeat(1000) },
  ]);
  const before = await test.look(test.dlq);
  const { code, stdout, stderr } = await test.tool("show").ended();
  assert.equal(code, 0, stderr);
  const from = `from +queue '${test.queue}', exchange 'some exchange', routing key 'some.key'\n`;
  for (
    const pattern of [
      `^first in ${test.dlq}\n  reason +no such user\n  attempts +5, published 5 min ago\n  ${from}  body +hello\\.\\.\\.\n`,
      "second in .*\n  reason +a\\\\x1b\\[2J\\\\nb\n.*published \\?\n.*\n  body +caf\\\\xe9\n",
      "  body +x{200}\\.\\.\\. \\(1000 B\\)\n3 of 3 messages shown\n$",
    ]
  ) {
    assert.match(stdout, new RegExp(pattern));
  }
  assert.match((await test.tool("show", "--full").ended()).stdout, /x{1000}\n/);
  assert.match((await test.tool("show", "--limit", "1").ended()).stdout, /\n1 of 3 messages shown/);

  const after = await test.look(test.dlq);
  const parts = (messages: GetMessage[]) =>
    messages.map(({ properties, content }) => ({ properties, content }));
  assert.deepEqual(parts(after), parts(before));
});

Deno.test("show --json prints one object a line, with whole bodies", async () => {
  await using test = await setup();
  const timestamp = 1_700_000_000;
  await test.fill([
    { messageId: "one", body: "é".repeat(500), timestamp, contentType: "text/plain" },
    { messageId: "two", body: Buffer.from([0xff, 0xfe]) },
  ]);
  const { stdout } = await test.tool("show", "--json").ended();
  const [one, two] = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(one, {
    queue: test.dlq,
    id: "one",
    reason: "it is bad",
    attempts: 5,
    published: new Date(timestamp * 1000).toISOString(),
    originalExchange: "some exchange",
    originalRoutingKey: "some.key",
    originalQueue: test.queue,
    contentType: "text/plain",
    headers: one.headers,
    body: "é".repeat(500),
  });
  assert.equal(one.headers["x-attempts"], 5);
  assert.equal(two.bodyBase64, "//4=");
});

Deno.test("show finds by id and reason among thousands, and passes over what another consumer holds", async () => {
  await using test = await setup();
  const letters = numbered(3000, (n) => ({ reason: `reason ${n}` }));
  await test.fill(letters);
  const holder = await test.probe.model.createChannel();
  assert.equal(((await holder.get(test.dlq)) as GetMessage).properties.messageId, "m0");
  const byId = await test.tool("show", "--id", "m2990").ended();
  assert.match(byId.stdout, /^m2990 in [^]*\n1 of 2999 messages shown\n$/);
  const byReason = await test.tool("show", "--reason", "reason 299", "--limit", "3").ended();
  assert.deepEqual(byReason.stdout.match(/^m\d+/gm), ["m299", "m2990", "m2991"]);
  assert.match((await test.tool("show", "--limit", "1").ended()).stdout, /^m1 in/);
  await holder.close();
  assert.deepEqual(await test.ids(test.dlq, 3000), idsOf(letters));
});

Deno.test("replay ends when another consumer takes the messages away", async () => {
  await using test = await setup();
  await test.fill(many);
  const other = await test.probe.model.createChannel();
  await other.prefetch(0);
  const replay = test.tool("replay");
  await eventually(async () => assert(await test.probe.count(test.queue) > 0));
  await other.consume(test.dlq, () => {});
  const { code, stdout } = await replay.ended();
  assert.equal(code, 0);
  const count = Number(/^Replayed (\d+) messages/.exec(stdout)![1]);
  assert(count < many.length);
  await other.close();
  assert.equal(await test.probe.count(test.queue), count);
  await eventually(async () => assert.equal(await test.probe.count(test.dlq), many.length - count));
});

Deno.test("a queue that another consumer has for itself is an error, not a wait for ever", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  await channel.deleteQueue(test.dlq);
  const single = { durable: true, arguments: { "x-single-active-consumer": true } };
  await channel.assertQueue(test.dlq, single);
  await test.fill(numbered(3));
  await channel.prefetch(1);
  await channel.consume(test.dlq, () => {});
  const { code, stderr } = await test.tool("show", "--timeout", "0.5").ended();
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot read '.*': another consumer has it for itself\n$/);
});

Deno.test("replay sends a message to the queue it came from alone, for a first attempt with its own properties", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  await channel.assertExchange(test.queue, "fanout", { durable: true });
  await channel.bindQueue(test.queue, test.queue, "");
  const { queue: copy } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(copy, test.queue, "");
  let good = false;
  const handled: Message[] = [];
  await test.consume((message) => {
    if (!good) throw new BadMessage("not yet");
    handled.push(message);
  });
  const body = Buffer.from([0xff, 0x00, 0xfe]);
  const properties = { messageId: "mine", timestamp: 1_700_000_000, contentType: "a/b", type: "t" };
  channel.publish(test.queue, "a.key", body, { ...properties, headers: { mine: [1, "x"] } });
  await test.ids(test.dlq, 1);
  good = true;
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`);
  await eventually(() => assert.equal(handled.length, 1));
  const message = handled[0]!;
  assert.equal(message.exchange, test.queue);
  assert.equal(message.routingKey, "a.key");
  assert.equal(message.attempt, 1);
  assert.deepEqual(Buffer.from(message.body), body);
  const { headers, deliveryMode } = message.properties;
  for (const [name, value] of Object.entries(properties)) {
    assert.equal(message.properties[name as keyof Message["properties"]], value);
  }
  assert.equal(deliveryMode, 2);
  assert.deepEqual(headers?.mine, [1, "x"]);
  assert.equal(headers?.["x-reason"], undefined);
  assert.equal(await test.probe.count(test.dlq), 0);
  assert.equal((await channel.checkQueue(copy)).messageCount, 1);
});

Deno.test("replay of messages that fail again looks at each of them once", async () => {
  await using test = await setup();
  const attempts = new Map<string, number>();
  await test.consume(({ properties, attempt }) => {
    assert.equal(attempt, 1);
    attempts.set(properties.messageId, (attempts.get(properties.messageId) ?? 0) + 1);
    throw new BadMessage("again");
  });
  const letters = numbered(2000);
  await test.fill(letters);
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Replayed 2000 messages/);
  const ids = await test.ids(test.dlq, 2000);
  assert.deepEqual(new Set(ids), new Set(idsOf(letters)));
  assert.deepEqual(new Set(attempts.values()), new Set([1]));
});

Deno.test("replay by id or reason leaves the others, in their order", async () => {
  await using test = await setup();
  // More than one batch of messages is held back.
  const letters = numbered(3000, (n) => ({ reason: n % 10 === 0 ? "user 7 unknown" : "other" }));
  await test.fill(letters);
  const byId = await test.tool("replay", "--id", "m1234").ended();
  assert.match(byId.stdout, /^Replayed 1 message from/);
  const byReason = await test.tool("replay", "--reason", "user 7").ended();
  assert.match(byReason.stdout, /^Replayed 300 messages from/);
  const [moved, stayed] = [[] as string[], [] as string[]];
  for (const { messageId, reason } of letters) {
    if (messageId !== "m1234") (reason === "other" ? stayed : moved).push(messageId!);
  }
  assert.deepEqual(await test.ids(test.dlq, stayed.length), stayed);
  assert.deepEqual(await test.ids(test.queue, moved.length + 1), ["m1234", ...moved]);
  const none = await test.tool("replay", "--id", "m1234").ended();
  assert.equal(none.code, 1);
  assert.match(none.stderr, /^There is no message 'm1234'/);
});

/** Waits until a replay of `many` is in the middle. */
async function inTheMiddle(test: Test): Promise<void> {
  await eventually(async () => assert(await test.probe.count(test.queue) > 500));
}

/** Every message is in one of the two queues, or in both; returns how many there are. */
async function nothingLost(test: Test): Promise<number> {
  return await eventually(async () => {
    const all = [...await test.look(test.dlq), ...await test.look(test.queue)];
    assert.equal(new Set(all.map(({ properties }) => properties.messageId)).size, many.length);
    return all.length;
  });
}

Deno.test("kill -9 in the middle of a replay loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  replay.kill("SIGKILL");
  assert.equal((await replay.ended()).signal, "SIGKILL");
  await eventually(async () => assert(await test.probe.count(test.dlq) > 0));
  await nothingLost(test);
});

Deno.test("a connection that breaks in the middle of a replay ends it with 1, and loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  test.cable.cut();
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^Replayed \d+ messages from/);
  assert.match(stderr, /Lost the connection to .* Reconnecting\n/);
  assert.match(stderr, /\nCannot read '.*': the connection was lost; replay again for the rest/);
  await nothingLost(test);
  assert.equal((await test.tool("replay").ended()).code, 0);
  assert.equal(await test.probe.count(test.dlq), 0);
  await nothingLost(test);
});

Deno.test("a broker that hangs in the middle of a replay ends it with 1, and loses nothing", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay", "--timeout", "1");
  await inTheMiddle(test);
  test.cable.freeze();
  const { code, stderr } = await replay.ended();
  assert.equal(code, 1);
  assert.match(stderr, /no confirm within 1 s|does not answer/);
  test.cable.cut();
  await nothingLost(test);
});

Deno.test("Ctrl-C in the middle of a replay ends it with 0, each message in one queue", async () => {
  await using test = await setup();
  await test.fill(many);
  const replay = test.tool("replay");
  await inTheMiddle(test);
  replay.kill("SIGINT");
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Replayed \d+ messages from .*\nStopped; /);
  assert.equal(await nothingLost(test), many.length);
  assert.notEqual(await test.probe.count(test.dlq), 0);
});

Deno.test("a message whose queue is gone stays, with 1, naming both; the others are replayed", async () => {
  await using test = await setup();
  const gone = `${test.queue}.gone`;
  // The same id twice: what comes back from the broker names nothing but it.
  await test.fill([
    { messageId: "a", from: gone },
    { messageId: "b" },
    { messageId: "a", from: gone },
    { messageId: "c", from: gone },
  ]);
  const { code, stdout, stderr } = await test.tool("replay").ended();
  assert.equal(code, 1);
  assert.equal(stdout, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`);
  assert.equal(
    stderr,
    `Left 3 messages in ${test.dlq} (the first: a): Cannot publish: there is no queue '${gone}'\n`,
  );
  assert.deepEqual(await test.ids(test.dlq, 3), ["a", "a", "c"]);
});

Deno.test("a message of another program stays when it does not say where it came from", async () => {
  await using test = await setup();
  await test.fill([
    { messageId: "foreign", headers: {} },
    { messageId: "odd", headers: { "x-death": "often", "x-attempts": "many", "x-reason": 7 } },
    { messageId: "circle", from: test.dlq },
  ]);
  assert.match((await test.tool("show").ended()).stdout, /^foreign in .*\n +reason +\?\n/);
  const { code, stderr } = await test.tool("replay").ended();
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^Left 3 messages in .* \(the first: foreign\): it does not say which queue it came from\n$/,
  );
  assert.deepEqual(await test.ids(test.dlq, 3), ["foreign", "odd", "circle"]);
});

Deno.test("a message that RabbitMQ has dead-lettered goes back to its queue, uncounted", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  await channel.deleteQueue(test.queue);
  await channel.assertQueue(test.queue, {
    durable: true,
    arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": test.dlq },
  });
  await channel.assertExchange(test.queue, "topic", { durable: true });
  await channel.bindQueue(test.queue, test.queue, "#");
  channel.publish(test.queue, "a.key", Buffer.from("x"));
  const get = () =>
    eventually(async () => {
      const message = await channel.get(test.queue);
      assert(message);
      return message;
    });
  channel.reject(await get(), false);
  await eventually(async () => {
    assert.match(
      (await test.tool("show").ended()).stdout,
      new RegExp(
        `reason +rejected\n.*\n  from +queue '${test.queue}', exchange '${test.queue}', ` +
          "routing key 'a\\.key'\n",
      ),
    );
  });
  const { code, stderr } = await test.tool("replay").ended();
  assert.equal(code, 0, stderr);
  const { properties } = await get();
  assert.deepEqual({ ...properties.headers }, {
    "x-attempts": 0,
    "x-original-exchange": test.queue,
    "x-original-routing-key": "a.key",
    "x-original-queue": test.queue,
  });
});

Deno.test("purge removes with --yes, all or by reason or id, and refuses without it with 2", async () => {
  await using test = await setup();
  const letters = numbered(3000, (n) => ({ reason: n % 2 === 0 ? "even" : "odd" }));
  await test.fill(letters);
  const refused = await test.tool("purge").ended();
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /^Cannot ask whether to purge: .* --yes\n$/);
  assert.equal(await test.probe.count(test.dlq), 3000);
  assert.equal(
    (await test.tool("purge", "--yes", "--id", "m1").ended()).stdout,
    `Removed 1 message from ${test.dlq}\n`,
  );
  assert.equal(
    (await test.tool("purge", "--yes", "--reason", "even").ended()).stdout,
    `Removed 1500 messages from ${test.dlq}\n`,
  );
  assert.deepEqual(
    await test.ids(test.dlq, 1499),
    idsOf(letters.filter(({ reason, messageId }) => reason === "odd" && messageId !== "m1")),
  );
  assert.equal((await test.tool("purge", "--yes", "--id", "m1").ended()).code, 1);
  assert.match((await test.tool("purge", "--yes").ended()).stdout, /^Removed 1499 messages/);
  assert.equal(await test.probe.count(test.dlq), 0);
});

Deno.test("purge asks at a terminal, and removes no more than it has said", async () => {
  await using test = await setup();
  await test.fill(numbered(2));
  const ask = () =>
    start([
      "-qec",
      `exec ${Deno.execPath()} task dead-letters purge --queue ${test.dlq}`,
      "/dev/null",
    ], {
      command: "script",
      cwd: `${root}${folder}`,
      env: { AMQP_URL: test.cable.url },
    });
  for (const key of ["n\r", "\r", "\x03"]) {
    await using terminal = ask();
    await terminal.seen(
      new RegExp(`2 messages in ${test.dlq}\\s+Remove them for good\\? \\[y/N\\]`),
    );
    await terminal.openInput().write(new TextEncoder().encode(key));
    const { code, stdout } = await terminal.ended();
    assert.equal(code, 0, stdout);
    assert.match(stdout, /Nothing was removed/);
    assert.equal(await test.probe.count(test.dlq), 2);
  }
  await using terminal = ask();
  await terminal.seen(/Remove them for good/);
  await test.fill([{ messageId: "late" }]);
  await terminal.openInput().write(new TextEncoder().encode("y\r"));
  const { code, stdout } = await terminal.ended();
  assert.equal(code, 0, stdout);
  assert.match(stdout, /Removed 2 messages from/);
  assert.deepEqual(await test.ids(test.dlq, 1), ["late"]);
});

Deno.test("wrong usage ends with 2, a queue or a broker that is not there with 1, help with 0", async () => {
  await using test = await setup();
  for (
    const args of [
      [],
      ["nope"],
      ["constructor"],
      ["list", "show"],
      ["list", "--full"],
      ["replay", "--limit", "3"],
      ["show", "--limit", "0"],
      ["show", "--nope"],
      // What an unset shell variable leaves must not choose everything.
      ["purge", "--yes", "--id", ""],
      ["purge", "--yes", "--reason="],
    ]
  ) {
    const { code, stdout, stderr } = await test.tool(...args).ended();
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /^\S.*\n$/);
  }
  const tool = (...args: string[]) =>
    startTool(folder, "dead-letters", args, { AMQP_URL: test.cable.url }).ended();
  assert.equal((await tool("purge", "--yes", "--queue", "")).code, 2);
  for (const command of [["list"], ["show"], ["replay"], ["purge", "--yes"]]) {
    const { code, stderr } = await tool(...command, "--queue", `${test.queue}.none`);
    assert.equal(code, 1);
    assert.match(stderr, /^There is no queue 'test\.dead\.\S+\.none' at amqp:\S+\n$/);
  }
  test.cable.cut("down");
  const away = await test.tool("list", "--timeout", "0.5").ended();
  assert.equal(away.code, 1);
  assert.match(away.stderr, /\(tried within 0\.5 s\); start a broker with: deno task up\n$/);
  const help = await test.tool("--help").ended();
  assert.equal(help.code, 0);
  for (const name of Object.keys(queues)) assert(help.stdout.includes(`  ${name} `));
});

Deno.test("every dead-letter queue that a tool of the project names is known", async () => {
  for (const [name, tool] of Object.entries(queues)) {
    const [folder = "", task = "recv"] = tool.split(", ");
    const { stdout } = await startTool(folder, task, ["--help"]).ended();
    assert(stdout.includes(`Dead-letter queue: `) && stdout.includes(name), `${tool}: ${stdout}`);
  }
});

Deno.test("the root's dead-letters is this one", async () => {
  const tasks = async (path: string) => JSON.parse(await Deno.readTextFile(path)).tasks;
  const name = "dead-letters";
  assert.equal(
    (await tasks("deno.json"))[name],
    (await tasks(`${folder}/deno.json`))[name].replace(
      "dead_letters.ts",
      `${folder}/dead_letters.ts`,
    ),
  );
  assert.equal((await start(["task", name, "--help"]).ended()).code, 0);
});
