import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { eventually, root, start } from "../../lib/testing.ts";
import { folder, idsOf, many, numbered, setup, type Test } from "./testing.ts";

// deno-lint-ignore no-explicit-any
type Line = any;

/** The lines of show --json. */
async function shown(test: Test, ...args: string[]): Promise<Line[]> {
  const { code, stdout, stderr } = await test.tool("show", "--json", ...args).ended();
  assert.equal(code, 0, stderr);
  return stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** Replays lines, which may be texts that are none. */
async function replay(test: Test, lines: Line[], ...args: string[]) {
  const tool = test.tool("replay", "--from", "-", ...args);
  await tool.input(
    lines.map((line) => typeof line === "string" ? line : JSON.stringify(line)).join("\n") + "\n",
  );
  return await tool.ended();
}

/** What is in a queue, without what a quorum queue counts. */
async function state(test: Test, name: string) {
  return (await test.look(name)).map(({ properties, content }) => {
    delete properties.headers?.["x-delivery-count"];
    return { properties, content: content.toString("latin1") };
  });
}

for (const type of ["classic", "quorum"]) {
  Deno.test(`edited lines go where a replay sends them, in place of their letters; the others are as they were: ${type}`, async () => {
    await using test = await setup();
    await test.probe.channel.deleteQueue(test.dlq);
    const declared = { "x-queue-type": type };
    await test.probe.channel.assertQueue(test.dlq, { durable: true, arguments: declared });
    await test.fill(numbered(12, (n) => ({
      body: n === 3 ? Buffer.from([0xff, n]) : `{"n":${n}}`,
      type: "t",
      timestamp: 1_700_000_000 + n,
      correlationId: `c${n}`,
    })));
    await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 12));
    const before = await state(test, test.dlq);
    const lines = await shown(test);
    assert.equal(lines.length, 12);
    const [third, seventh, last] = [lines[3], lines[7], lines[11]];
    seventh.body = '{"n":"seven"}';
    seventh.headers.mine = "added";
    seventh.properties.type = "changed";
    delete seventh.properties.correlationId;
    // In another order than that of the queue.
    const { code, stdout, stderr } = await replay(test, [last, seventh, "", third]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(stdout, `Replayed 3 messages from ${test.dlq} to ${test.queue}\n`);
    await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 9));
    assert.deepEqual(
      await state(test, test.dlq),
      before.filter((_, n) => ![3, 7, 11].includes(n)),
    );
    const sent = await state(test, test.queue);
    assert.deepEqual(sent.map(({ properties }) => properties.messageId), ["m11", "m7", "m3"]);
    assert.equal(sent[2]!.content, "\xff\x03");
    const { properties, content } = sent[1]!;
    assert.equal(content, '{"n":"seven"}');
    assert.equal(properties.type, "changed");
    assert.equal(properties.timestamp, 1_700_000_007);
    assert.equal(properties.correlationId, undefined);
    assert.deepEqual({ ...properties.headers }, {
      mine: "added",
      "x-attempts": 0,
      "x-original-exchange": "some exchange",
      "x-original-routing-key": "some.key",
      "x-original-queue": test.queue,
    });
  });
}

Deno.test("show --json | replay --from - is one pipe, and what is unchanged is what replay sends", async () => {
  await using test = await setup();
  await test.fill(numbered(300));
  const tool = `${Deno.execPath()} task -q dead-letters --queue ${test.dlq}`;
  await using pipe = start(
    ["-c", `${tool} show --json --limit 1000 | ${tool} replay --from -`],
    { command: "sh", cwd: `${root}${folder}`, env: { AMQP_URL: test.cable.url } },
  );
  const { code, stderr } = await pipe.ended();
  assert.equal(code, 0, stderr);
  await test.fill([{ messageId: "plain" }]);
  assert.equal((await test.tool("replay").ended()).code, 0);
  const sent = await state(test, test.queue);
  const plain = sent.pop()!;
  assert.deepEqual(
    sent.map(({ properties }) => properties.headers),
    Array(300).fill(plain.properties.headers),
  );
  assert.equal(await test.probe.count(test.dlq), 0);
});

Deno.test("a line that names no letter, or not exactly one, is an error that names it; the others are done", async () => {
  await using test = await setup();
  await test.fill([
    { messageId: "good" },
    { messageId: "twice" },
    { messageId: "twice" },
    {},
    { messageId: "lines" },
    { messageId: "priority" },
    { messageId: "user" },
    { messageId: "nowhere", headers: {} },
    { messageId: "other" },
  ]);
  const lines = await shown(test);
  const of = (id: string) => structuredClone(lines.find((line) => line.id === id));
  const none = lines.find((line) => line.id === undefined);
  const wrong = { ...of("good"), body: 7 };
  const { code, stdout, stderr } = await replay(test, [
    { ...of("good"), id: "gone" },
    of("twice"),
    none,
    of("lines"),
    of("lines"),
    { ...of("priority"), properties: { messageId: "priority", priority: 300 } },
    { ...of("user"), properties: { messageId: "user", userId: "somebody else" } },
    of("nowhere"),
    { ...of("other"), queue: "elsewhere" },
    "{",
    wrong,
    of("good"),
  ]);
  assert.equal(code, 1);
  assert.equal(stdout, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`);
  for (
    const [line, why] of [
      [1, "message 'gone' is not in '.*' \\(any more\\)"],
      [2, "more than one message in '.*' has the id 'twice'"],
      [3, "it has no 'id', .*"],
      [4, "2 lines have the id 'lines'"],
      [5, "2 lines have the id 'lines'"],
      [6, "Cannot publish: .* Received 300"],
      [7, "Cannot publish: .*"],
      [8, "it does not say which queue it came from; try: --to QUEUE"],
      [9, "it is of 'elsewhere', not of --queue"],
      [10, "no JSON: .*"],
      [11, "there must be one text: .*"],
    ]
  ) assert.match(stderr, new RegExp(`Line ${line} was not replayed: ${why}\n`));
  assert.match(stderr, /\n11 lines not replayed, as was said\n$/);
  assert.deepEqual(
    await test.ids(test.dlq, 8),
    ["twice", "twice", undefined, "lines", "priority", "user", "nowhere", "other"],
  );
  assert.deepEqual(await test.ids(test.queue, 1), ["good"]);
  assert.equal((await replay(test, [of("good")])).code, 1);
  assert.deepEqual(await test.ids(test.queue, 1), ["good"]);
});

Deno.test("what a queue of another name holds is replayed by its line; a queue that is gone is an error", async () => {
  await using test = await setup();
  await test.fill([{ messageId: "a" }]);
  const [line] = await shown(test);
  const tool = test.anywhere("replay", "--from", "-");
  await tool.input(
    `${JSON.stringify({ ...line, queue: `${test.queue}.gone` })}\n${JSON.stringify(line)}`,
  );
  const { code, stderr } = await tool.ended();
  assert.equal(code, 1);
  assert.match(stderr, /Line 1 was not replayed: there is no queue '.*\.gone'\n/);
  assert.deepEqual(await test.ids(test.queue, 1), ["a"]);
  const empty = await replay(test, []);
  assert.deepEqual([empty.code, empty.stdout], [0, "There is nothing to replay\n"]);
});

Deno.test("kill -9 in the middle of replay --from loses nothing, and a second one does the rest", async () => {
  await using test = await setup();
  const some = many.slice(0, 5000);
  await test.fill(some);
  const lines = await shown(test, "--limit", "5000");
  for (const line of lines) line.body = `edited ${line.body}`;
  const tool = test.tool("replay", "--from", "-");
  await tool.input(lines.map((line) => JSON.stringify(line)).join("\n"));
  await eventually(async () => assert(await test.probe.count(test.queue) > 200));
  tool.kill("SIGKILL");
  assert.equal((await tool.ended()).signal, "SIGKILL");
  await eventually(async () => {
    const all = [...await test.look(test.dlq), ...await test.look(test.queue)];
    assert.equal(new Set(all.map(({ properties }) => properties.messageId)).size, some.length);
  });
  const left = await shown(test, "--limit", "5000");
  assert(left.length > 0);
  const ids = new Set(left.map(({ id }) => id));
  const { code, stderr } = await replay(test, lines.filter(({ id }) => ids.has(id)));
  assert.equal(code, 0, stderr);
  assert.equal(await test.probe.count(test.dlq), 0);
  const arrived = await test.look(test.queue);
  assert.deepEqual(
    new Set(arrived.map(({ properties }) => properties.messageId)),
    new Set(idsOf(some)),
  );
  for (const { content } of arrived) assert.match(content.toString(), /^edited /);
});

Deno.test("Ctrl-C while replay --from waits for its input leaves all as it was", async () => {
  await using test = await setup();
  await test.fill(numbered(3));
  const tool = test.tool("replay", "--from", "-", "--log-level", "debug");
  const writer = tool.openInput();
  const [line] = await shown(test);
  // More than a pipe holds: it is being read.
  await writer.write(new TextEncoder().encode(JSON.stringify(line) + "\n".repeat(1_000_000)));
  tool.kill("SIGINT");
  await tool.status; // its input is open until then
  const { code, stdout } = await tool.ended();
  assert.equal(code, 0);
  assert.equal(stdout, "Stopped; all messages are where they were\n");
  assert.deepEqual(await test.ids(test.dlq, 3), ["m0", "m1", "m2"]);
});
