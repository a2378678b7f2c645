import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { eventually } from "../../lib/testing.ts";
import { event, folder, ready, setup } from "./testing.ts";

const schema = JSON.stringify({
  type: "object",
  properties: { user: { properties: { name: { type: "string", pattern: "^(a+)+$" } } } },
});
const good = (mark: string) => JSON.stringify({ mark, user: { name: "aaa" } });
const bad = (mark: string) => JSON.stringify({ mark, user: { name: 7 } });

Deno.test("send --schema sends what conforms, and nothing else, with 1", async () => {
  await using test = await setup();
  const file = await test.file("schema.json", schema);
  const mark = event();
  const sent = await test.send("--schema", file, good(mark)).ended();
  assert.deepEqual([sent.code, sent.stdout], [0, ` [x] Sent '${good(mark)}'\n`]);
  for (
    const [word, why] of [
      [bad(mark), "/user/name: must be string"],
      [`{"mark":"${mark}","user":{"name":"${"a".repeat(10_000)}!"}}`, "/user/name: must match .*"],
      [mark, "the body is not JSON: .*"],
    ] as const
  ) {
    const { code, stdout, stderr } = await test.send("--schema", file, word).ended();
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, new RegExp(`^Not sent: it does not conform to schema\\.json: ${why}\n$`));
  }
});

Deno.test("send --file --schema ends at the first line that does not conform, and leaves it and what follows", async () => {
  await using test = await setup();
  await test.bind();
  const file = await test.file("schema.json", schema);
  const mark = event();
  const lines = [good(mark), good(mark), bad(mark), good(mark), "last"];
  const path = await test.file("all", lines.join("\n"));
  const unsent = path.replace(/all$/, "unsent");
  const flags = ["--schema", file, "--file", path];
  const first = await test.send(...flags).ended();
  assert.equal(first.code, 1);
  assert.match(first.stdout, /^ \[x\] Sent 2 messages in/);
  assert.equal(
    first.stderr,
    "Line 3 does not conform to schema.json: /user/name: must be string. Not sent: line 3, and " +
      "what comes after line 3; send it with: tail -n +3 (those that were sent come twice; " +
      "--unsent FILE avoids that)\n",
  );
  const second = await test.send(...flags, "--unsent", unsent).ended();
  assert.equal(second.code, 1);
  assert.match(second.stderr, /^Line 3 does .* it is in '\S+\/unsent', for --file\n$/);
  assert.equal(
    await Deno.readTextFile(`${folder}/${unsent}`),
    [...lines.slice(2), ""].join("\n"),
  );
  const arrived: string[] = [];
  await test.probe.channel.consume(test.queue, (message) => {
    const text = message?.content.toString() ?? "";
    if (text.includes(mark)) arrived.push(text);
  }, { noAck: true });
  await eventually(() => assert.deepEqual(arrived, Array(4).fill(good(mark))));
});

Deno.test("recv --schema dead-letters what does not conform, with the path, and goes on", async () => {
  await using test = await setup();
  const file = await test.file("schema.json", schema);
  const recv = test.recv("--work", "0", "--schema", file);
  await recv.seen(ready);
  const mark = event();
  const bodies: [string | Uint8Array, RegExp][] = [
    [bad(mark), /^does not conform to schema\.json: \/user\/name: must be string$/],
    [
      `{"user":{"name":"${"a".repeat(100_000)}!"}}`,
      /\/user\/name: must match pattern "\^\(a\+\)\+\$"$/,
    ],
    ["[".repeat(1_000_000), /the body is not JSON: nested more than 100 levels deep/],
    [new Uint8Array([0xff]), /^does not conform to schema\.json: the body is not UTF-8$/],
    ["", /^does not conform to schema\.json: the body is not JSON: /],
  ];
  for (const [body] of bodies) {
    test.probe.channel.sendToQueue(test.queue, Buffer.from(body as string));
  }
  test.probe.channel.sendToQueue(test.queue, Buffer.from(good(mark)));
  await recv.seen(new RegExp(`Received '.*${mark}.*'\n \\[x\\] Done`));
  for (const [body, reason] of bodies) {
    const { content, properties } = await test.probe.take(`${test.queue}.dlq`);
    assert(content.equals(Buffer.from(body as string)));
    assert.match(properties.headers?.["x-reason"], reason);
    assert.equal(properties.headers?.["x-attempts"], 1);
  }
  assert(!recv.output.stdout.includes(bad(mark)));
});

Deno.test("a schema that is none, or is not there, ends send and recv with 2, in one line", async () => {
  await using test = await setup();
  const none = await test.file("schema.json", '{"type": "strng"}');
  for (const tool of [test.send, test.recv]) {
    const refused = await tool("--schema", none).ended();
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /^--schema: '\S+schema\.json' is no schema: .*\/type must be.*\n$/,
    );
    const missing = await tool("--schema", "/no/such.json").ended();
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /^--schema: cannot read '\/no\/such\.json': .*\n$/);
  }
});
