import assert from "node:assert/strict";
import { numbered, setup } from "./testing.ts";

Deno.test("--where chooses what show, replay and purge are about, and leaves the others in their order", async () => {
  await using test = await setup();
  await test.fill(numbered(9, (n) => ({ body: `{"n":${n}}`, reason: `r${n % 2}`, type: "t" })));
  const where = (query: unknown) => ["--where", JSON.stringify(query)];
  const shown = await test.tool("show", ...where({ "body.n": { $gt: 6 } })).ended();
  assert.deepEqual(shown.stdout.match(/^m\d/gm), ["m7", "m8"]);
  const both = await test.tool(
    "show",
    "--reason",
    "r1",
    ...where({
      exchange: "some exchange",
      routingKey: "some.key",
      "properties.type": "t",
      "headers.x-original-queue": test.queue,
      "body.n": { $lt: 4 },
    }),
  ).ended();
  assert.deepEqual(both.stdout.match(/^m\d/gm), ["m1", "m3"]);
  const replayed = await test.tool("replay", ...where({ "body.n": { $in: [2, 5] } })).ended();
  assert.match(replayed.stdout, /^Replayed 2 messages from/);
  const purged = await test.tool("purge", "--yes", ...where({ "headers.x-reason": "r1" })).ended();
  assert.match(purged.stdout, /^Removed 3 messages from/);
  assert.deepEqual(await test.ids(test.dlq, 4), ["m0", "m4", "m6", "m8"]);
  assert.deepEqual(await test.ids(test.queue, 2), ["m2", "m5"]);
});

Deno.test("replay --id is for exactly one message", async () => {
  await using test = await setup();
  await test.fill([
    { messageId: "one" },
    { messageId: "two", body: '{"n":1}' },
    { messageId: "two", body: '{"n":2}' },
  ]);
  assert.equal((await test.tool("replay", "--id", "one").ended()).code, 0);
  const none = await test.tool("replay", "--id", "one").ended();
  assert.equal(none.code, 1);
  assert.match(none.stderr, /^There is no message 'one'/);
  const two = await test.tool("replay", "--id", "two").ended();
  assert.deepEqual([two.code, two.stdout], [1, ""]);
  assert.equal(
    two.stderr,
    `More than one message has the id 'two': 2 in ${test.dlq}; nothing was replayed. ` +
      "Choose one with --queue, --reason or --where\n",
  );
  assert.deepEqual(await test.ids(test.dlq, 2), ["two", "two"]);
  const chosen = await test.tool("replay", "--id", "two", "--where", '{"body.n": 2}').ended();
  assert.equal(chosen.code, 0, chosen.stderr);
  const [left] = await test.look(test.dlq);
  assert.equal(left!.content.toString(), '{"n":1}');
  assert.deepEqual(await test.ids(test.queue, 2), ["one", "two"]);

  // Nothing could choose between copies, as a crash may leave them.
  await test.fill([{ messageId: "three" }, { messageId: "three" }]);
  const copy = await test.tool("replay", "--id", "three").ended();
  assert.deepEqual(
    [copy.code, copy.stdout],
    [0, `Replayed 1 message from ${test.dlq} to ${test.queue}\n`],
  );
  assert.deepEqual(await test.ids(test.dlq, 2), ["two", "three"]);
  assert.deepEqual(await test.ids(test.queue, 3), ["one", "two", "three"]);
});

Deno.test("replay --to sends to another queue, also what does not say where it came from", async () => {
  await using test = await setup();
  const { channel } = test.probe;
  const to = `${test.queue}.retry.9`; // a name that the end deletes
  await channel.assertQueue(to, { durable: true });
  try {
    await test.fill([{ messageId: "a" }, { messageId: "foreign", headers: {} }]);
    const gone = await test.tool("replay", "--to", `${to}.gone`).ended();
    assert.equal(gone.code, 1);
    assert.match(
      gone.stderr,
      /^Left 2 messages in .*: Cannot publish: there is no queue '.*gone'\n$/,
    );
    const itself = await test.tool("replay", "--to", test.dlq).ended();
    assert.equal(itself.code, 1);
    assert.match(itself.stderr, /it would come back to this very queue\n$/);
    assert.deepEqual(await test.ids(test.dlq, 2), ["a", "foreign"]);
    const { code, stdout, stderr } = await test.tool("replay", "--to", to).ended();
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `Replayed 2 messages from ${test.dlq} to ${to}\n`);
    const [a, foreign] = await test.look(to);
    assert.equal(a!.properties.headers?.["x-original-exchange"], "some exchange");
    assert.equal(a!.properties.headers?.["x-original-queue"], to);
    assert.equal(foreign!.properties.messageId, "foreign");
  } finally {
    await channel.deleteQueue(to);
  }
});
