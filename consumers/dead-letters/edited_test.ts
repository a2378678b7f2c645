import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { eventually, root, start } from "../../lib/testing.ts";
import { folder, many, numbered, setup, type Test } from "./testing.ts";

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
      expiration: "3600000",
    })));
    await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 12));
    const before = await state(test, test.dlq);
    const lines = await shown(test);
    assert.equal(lines.length, 12);
    const [third, seventh, last] = [lines[3], lines[7], lines[11]];
    seventh.body = '{"n":"seven"}';
    seventh.headers.mine = "added";
    seventh.properties.type = "changed";
    seventh.properties.expiration = "600000";
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
    assert.deepEqual(
      sent.map(({ properties }) => properties.expiration),
      [undefined, "600000", undefined],
    );
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

Deno.test("letters without an id, or with the same one, are told apart; of copies each line stands for one", async () => {
  await using test = await setup();
  await test.fill([
    { body: "none 1" },
    { body: "none 2" },
    { messageId: "same", body: "1" },
    { messageId: "same", body: "2" },
    { messageId: "copy", body: "c" },
    { messageId: "copy", body: "c" },
    { messageId: "copy", body: "c" },
  ]);
  const lines = await shown(test);
  const chosen = [lines[1], lines[3], lines[4], lines[5]];
  for (const line of chosen) line.body += " edited";
  const { code, stdout, stderr } = await replay(test, chosen);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `Replayed 4 messages from ${test.dlq} to ${test.queue}\n`);
  const bodies = async (name: string) => (await test.look(name)).map(({ content }) => `${content}`);
  await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 3));
  assert.deepEqual(await bodies(test.dlq), ["none 1", "1", "c"]);
  assert.deepEqual(
    await bodies(test.queue),
    ["none 2 edited", "2 edited", "c edited", "c edited"],
  );
});

Deno.test("the letters of a queue that is published anew meanwhile are the same ones", async () => {
  await using test = await setup();
  await test.probe.channel.deleteQueue(test.dlq);
  const declared = { "x-queue-type": "quorum" };
  await test.probe.channel.assertQueue(test.dlq, { durable: true, arguments: declared });
  // What a copy does not have, and what a broker may write in another way.
  await test.fill(numbered(3, () => ({
    userId: "guest",
    persistent: false,
    headers: {
      "x-original-queue": test.queue,
      z: { b: [1.5, true, Buffer.from([255])], a: { "!": "timestamp", value: 7 } },
      CC: ["nowhere"],
      a: null,
    },
  })));
  const lines = await shown(test);
  // Each look counts: the third one is at copies.
  for (let looks = 0; looks < 3; looks++) {
    await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 3));
    assert.deepEqual(
      (await shown(test)).map(({ digest }) => digest),
      lines.map((each) => each.digest),
    );
  }
  const { code, stderr } = await replay(test, [lines[1]]);
  assert.equal(code, 0, stderr);
  await eventually(async () => assert.equal(await test.probe.waiting(test.dlq), 2));
  const left = await state(test, test.dlq);
  assert.deepEqual(left.map(({ properties }) => properties.messageId), ["m0", "m2"]);
});

Deno.test("a line that names no letter, or not exactly one, is an error that names it; the others are done", async () => {
  await using test = await setup();
  await test.fill([
    { messageId: "good" },
    { messageId: "lines" },
    { messageId: "priority" },
    { messageId: "user" },
    { messageId: "nowhere", headers: {} },
    { messageId: "other" },
  ]);
  const lines = await shown(test);
  const of = (id: string) => structuredClone(lines.find((line) => line.id === id));
  const wrong = { ...of("good"), body: 7 };
  const { code, stdout, stderr } = await replay(test, [
    { ...of("good"), id: "gone" },
    { ...of("good"), digest: undefined },
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
      [2, "it has no 'queue' and 'digest', as show --json writes them"],
      [3, "2 lines are of message 'lines'"],
      [4, "2 lines are of message 'lines'"],
      [5, "Cannot publish: .* Received 300"],
      [6, "Cannot publish: .*"],
      [7, "it does not say which queue it came from; try: --to QUEUE"],
      [8, "it is of 'elsewhere', not of --queue"],
      [9, "no JSON: .*"],
      [10, "there must be one text: .*"],
    ]
  ) assert.match(stderr, new RegExp(`Line ${line} was not replayed: ${why}\n`));
  assert.match(stderr, /\n10 lines not replayed, as was said\n$/);
  assert.deepEqual(
    await test.ids(test.dlq, 5),
    ["lines", "priority", "user", "nowhere", "other"],
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
  const text = (more: unknown) => JSON.stringify({ ...line, ...more as object });
  const lines = [text({ queue: `${test.queue}.gone` }), text({ body: "caf\xe9" }), text({})];
  await tool.input(Buffer.from(lines.join("\n"), "latin1"));
  const { code, stderr } = await tool.ended();
  assert.equal(code, 1);
  assert.match(stderr, /Line 1 was not replayed: there is no queue '.*\.gone'\n/);
  assert.match(stderr, /Line 2 was not replayed: it is not UTF-8\n/);
  assert.deepEqual(await test.ids(test.queue, 1), ["a"]);
  const empty = await replay(test, []);
  assert.deepEqual([empty.code, empty.stdout], [0, "There is nothing to replay\n"]);
});

Deno.test("kill -9 in the middle of replay --from loses nothing and leaves the others as they were; a second one does the rest", async () => {
  await using test = await setup();
  const some = many.slice(0, 3000).map((letter, n) => ({ ...letter, timestamp: n }));
  await test.fill(some);
  const all = await shown(test, "--limit", "3000");
  const lines = all.filter((_, n) => n % 2 === 1);
  const others = all.filter((_, n) => n % 2 === 0);
  const bodies = new Map(lines.map(({ id, body }) => [id, body]));
  for (const line of lines) line.body = `edited ${line.body}`;
  const tool = test.tool("replay", "--from", "-");
  await tool.input(lines.map((line) => JSON.stringify(line)).join("\n"));
  await eventually(async () => assert(await test.probe.count(test.queue) > 200));
  tool.kill("SIGKILL");
  assert.equal((await tool.ended()).signal, "SIGKILL");
  const sent = new Set((await test.look(test.queue)).map(({ properties }) => properties.messageId));
  // All of them are back, in their places.
  let left: Line[] = [];
  await eventually(async () => {
    left = await shown(test, "--limit", "3000");
    assert.equal(new Set([...left.map(({ id }) => id), ...sent]).size, some.length);
  });
  assert.deepEqual(left.filter(({ id }) => !bodies.has(id)), others);
  const again = left.filter(({ id }) => bodies.has(id));
  assert(again.length > 0);
  for (const line of again) {
    assert.equal(line.body, bodies.get(line.id));
    line.body = `edited ${line.body}`;
  }
  const { code, stderr } = await replay(test, again);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await shown(test, "--limit", "3000"), others);
  const arrived = await test.look(test.queue);
  assert.deepEqual(
    new Set(arrived.map(({ properties }) => properties.messageId)),
    new Set(bodies.keys()),
  );
  for (const { content } of arrived) assert.match(content.toString(), /^edited \{/);
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
