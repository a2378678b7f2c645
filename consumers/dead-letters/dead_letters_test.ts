import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { ConsumeMessage, GetMessage } from "amqplib";
import { connectBroker, openQueue } from "@event-sink/lib";
import { startEmbedded } from "@event-sink/embedded";
import { connectProbe, eventually, root, start, startTool } from "../../lib/testing.ts";
import { queues } from "./queues.ts";
import { folder, idsOf, numbered, setup } from "./testing.ts";

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
  assert.equal(
    (await tool("purge", "--all", "--yes")).stdout,
    "Removed 1 message from hello.dlq\n",
  );
  assert.equal((await tool("purge", "--all", "--yes")).stdout, "There is nothing to purge\n");
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
      "  body +x{200}\\.\\.\\. \\(1000 characters\\)\n3 of 3 messages shown\n$",
    ]
  ) {
    assert.match(stdout, new RegExp(pattern));
  }
  assert.match((await test.tool("show", "--full").ended()).stdout, /x{1000}\n/);
  assert.match((await test.tool("show", "--limit", "1").ended()).stdout, /\n1 of 3 messages shown/);

  const after = await test.look(test.dlq);
  const parts = (messages: ConsumeMessage[]) =>
    messages.map(({ properties, content }) => {
      delete properties.headers?.["x-delivery-count"]; // of a quorum queue
      return { properties, content };
    });
  assert.deepEqual(parts(after), parts(before));
});

const declarations = {
  classic: { "x-queue-type": "classic" },
  quorum: { "x-queue-type": "quorum" },
  "quorum with a delivery limit of 1": { "x-queue-type": "quorum", "x-delivery-limit": 1 },
};
for (const [type, declared] of Object.entries(declarations)) {
  Deno.test(`looking a hundred times leaves a queue as it was, in its order: ${type}`, async () => {
    await using test = await setup();
    await test.probe.channel.deleteQueue(test.dlq);
    await test.probe.channel.assertQueue(test.dlq, { durable: true, arguments: declared });
    await test.fill(numbered(7));
    await using broker = await connectBroker({ amqpUrl: test.amqpUrl });
    const { signal } = new AbortController();
    const expected = ["m0", "m1", "m2", "m3", "m4", "m5", "m6"];
    for (let looks = 0; looks < 100; looks++) {
      const limit = [7, 3, 1, 5][looks % 4]!;
      // A quorum queue has answered before what was given back counts again.
      await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 7));
      await using queue = (await openQueue(broker, test.dlq, 5000))!;
      const seen: string[] = [];
      for await (const { properties } of queue.read(signal, limit)) seen.push(properties.messageId);
      assert.deepEqual(seen, expected.slice(0, limit), `look ${looks}`);
    }
    await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 7));
    const [letter] = await test.look(test.dlq);
    assert.equal(letter!.properties.headers?.["x-reason"], "it is bad");
  });
}

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
    digest: one.digest,
    id: "one",
    reason: "it is bad",
    attempts: 5,
    published: new Date(timestamp * 1000).toISOString(),
    originalExchange: "some exchange",
    originalRoutingKey: "some.key",
    originalQueue: test.queue,
    time: new Date(timestamp * 1000).toISOString(),
    exchange: "some exchange",
    routingKey: "some.key",
    properties: { messageId: "one", contentType: "text/plain", timestamp },
    headers: one.headers,
    body: "é".repeat(500),
  });
  assert.match(one.digest, /^[0-9a-f]{32}$/);
  assert.notEqual(one.digest, two.digest);
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
  // A quorum queue puts m0 behind the others, which were given back before.
  assert.deepEqual((await test.ids(test.dlq, 3000)).toSorted(), idsOf(letters).toSorted());
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
      ["show", "--where", "{"],
      ["show", "--to", "x"],
      ["replay", "--from", "file"],
      ["replay", "--from", "-", "--id", "x"],
      ["purge", "--yes", "--where", '{"$where": "1"}'],
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
