import assert from "node:assert/strict";
import { savedLine } from "@event-sink/lib";
import { eventually } from "../../lib/testing.ts";
import { setup } from "./testing.ts";

Deno.test("a line that is no message ends it, with its number; what came before is published, and what follows is after it is mended", async () => {
  await using test = await setup();
  const [a, b, c] = ["a", "b", "c"].map((body) => test.line(body));
  const bad: [string | Uint8Array, RegExp][] = [
    [b!.slice(0, 30), /^line 2: no JSON: .*\. The next run goes on there, by '.*'\n$/],
    [b!.replace('"body"', '"boddy"'), /^line 2: there must be one text: 'body', or 'bodyBase64'/],
    [b!.replace('"messageId"', '"mesageId"'), /^line 2: there is no property 'mesageId'/],
    ["[]", /^line 2: no JSON object/],
    [Uint8Array.of(0xff, 0x7b), /^line 2: it is not UTF-8/],
  ];
  for (const [line, reason] of bad) {
    await test.save([a!]);
    const bytes = typeof line === "string" ? new TextEncoder().encode(line) : line;
    await Deno.writeFile(test.path, bytes, { append: true });
    await Deno.writeTextFile(test.path, `\n${c}\n`, { append: true });
    const { code, stdout, stderr } = await test.tool("--from", test.file).ended();
    assert.equal(code, 1);
    assert.match(stdout, /Replayed 1 message in/);
    assert.match(stderr, reason);
    assert.deepEqual(await test.bodies(1), ["a"]);
    await test.save([a!, b!, c!]);
    assert.equal((await test.tool("--from", test.file).ended()).code, 0);
    assert.deepEqual(await test.bodies(2), ["b", "c"]);
    await Deno.remove(`${test.path}.position`);
  }
});

Deno.test("a file that was cut off is told; one that only lacks its last line feed is whole, and may grow", async () => {
  await using test = await setup();
  const lines = ["a", "b", "c"].map((body) => test.line(body));
  await test.save([lines[0]!, lines[1]!.slice(0, -5)], "");
  const cut = await test.tool("--from", test.file).ended();
  assert.equal(cut.code, 1);
  assert.match(cut.stderr, /^line 2: no JSON/);
  await test.save(lines.slice(0, 2), "");
  assert.equal((await test.tool("--from", test.file).ended()).code, 0);
  await test.save([...lines, "{"]);
  assert.match((await test.tool("--from", test.file).ended()).stderr, /\nline 4: no JSON/);
  assert.deepEqual(await test.bodies(3), ["a", "b", "c"]);
});

Deno.test("a message to an exchange that does not exist stays, with its line, and so does what follows", async () => {
  await using test = await setup();
  const names = Array.from({ length: 50 }, (_, n) => `${n}`);
  const lines = names.map((name) => test.line(name));
  lines[20] = test.line("20", { exchange: `${test.queue}.gone` });
  await test.save(lines);
  const { code, stderr } = await test.tool("--from", test.file).ended();
  assert.equal(code, 1);
  assert.equal(
    stderr,
    `line 21: there is no exchange '${test.queue}.gone'. The next run goes on there, by '${test.file}.position'\n`,
  );
  assert.deepEqual(await test.bodies(20), names.slice(0, 20));
  lines[20] = test.line("20");
  await test.save(lines);
  assert.equal((await test.tool("--from", test.file).ended()).code, 0);
  assert.deepEqual(await test.bodies(30), names.slice(20));
});

Deno.test("a message that no queue takes stays, with its line; those behind it come again with the same ids", async () => {
  await using test = await setup();
  const names = Array.from({ length: 50 }, (_, n) => `${n}`);
  const lines = names.map((name) => test.line(name));
  lines[20] = test.line("20", { exchange: "", routingKey: `${test.queue}.gone` });
  await test.save(lines);
  const { code, stdout, stderr } = await test.tool("--from", test.file).ended();
  assert.equal(code, 1);
  const why =
    `line 21: Cannot publish: there is no queue '${test.queue}.gone'. The next run goes on there`;
  assert(stderr.startsWith(why), stderr);
  const beyond = Number(/there, (\d+) messages? behind it a second time/.exec(stderr)?.[1] ?? 0);
  assert.match(stdout, new RegExp(`Replayed ${20 + beyond} messages`));
  assert.equal((await test.position()).at.line, 20);
  lines[20] = test.line("20");
  await test.save(lines);
  assert.equal((await test.tool("--from", test.file).ended()).code, 0);
  assert.deepEqual(new Set(await test.bodies(50 + beyond)), new Set(names));
});

Deno.test("a message for which the broker closes the channel is found among those beside it", async () => {
  await using test = await setup();
  // A quorum queue takes its time to confirm, so that many are on their way when the channel is closed.
  const slow = `${test.queue}.retry.1`; // the end deletes it
  await test.probe.channel.assertQueue(slow, {
    durable: true,
    arguments: { "x-queue-type": "quorum" },
  });
  await test.probe.channel.bindQueue(slow, test.queue, "#");
  const names = Array.from({ length: 500 }, (_, n) => `${n}`);
  const bad = { properties: { headers: { CC: "no list" } } };
  const line = (name: string) => test.line(name, name === "400" ? bad : {});
  await test.save(names.map(line));
  const { code, stderr } = await test.tool("--from", test.file).ended();
  assert.equal(code, 1);
  assert.match(
    stderr,
    /\nline 401: Cannot publish: PRECONDITION_FAILED.*\. The next run goes on there/,
  );
  assert.equal((await test.position()).at.line, 400);
});

Deno.test("a file that has changed since, another question and a file of something else are refused", async () => {
  await using test = await setup();
  const lines = ["a", "b", "c"].map((body) => test.line(body));
  await test.save(lines);
  assert.equal((await test.tool("--from", test.file).ended()).code, 0);
  async function refused(pattern: RegExp, ...args: string[]) {
    for (const more of [[], ["--dry-run"]]) {
      const { code, stderr } = await test.tool("--from", test.file, ...args, ...more).ended();
      assert.notEqual(code, 0);
      assert.match(stderr, pattern);
    }
  }
  await refused(
    /is of a replay with another --where \(none; now \{\}\): delete '/,
    "--where",
    "{}",
  );
  await refused(/with another --exchange \(none; now amq.fanout\)/, "--exchange", "amq.fanout");
  await test.save([test.line("A"), ...lines.slice(1)]);
  await refused(/^Cannot go on at '.*': '.*' has changed before line 4, up to which .*; delete '/);
  await test.save(lines.slice(0, 1));
  await refused(/ has \d+ bytes, of which \d+ were replayed; delete '/);
  await refused(/'.*' is no position of a replay: name another/, "--position", test.file);
  assert.equal(await Deno.readTextFile(test.path), `${lines[0]}\n`);
  assert.deepEqual(await test.bodies(3), ["a", "b", "c"]);
});

Deno.test("a dead letter does not go back to its dead-letter queue", async () => {
  await using test = await setup();
  await test.save([savedLine({
    exchange: "",
    routingKey: `${test.queue}.dlq`,
    body: new Uint8Array(),
    properties: { messageId: "m", headers: { "x-original-queue": test.queue, "x-attempts": 5 } },
  })]);
  const { code, stderr } = await test.tool("--from", test.file).ended();
  assert.equal(code, 1);
  assert.match(stderr, /^line 1: a dead letter of queue '.*', which would be in '.*\.dlq' again: /);
  const to = ["--exchange", "", "--routing-key", test.queue];
  assert.equal((await test.tool("--from", test.file, ...to).ended()).code, 0);
  const [message] = await test.drain(1);
  assert.deepEqual({ ...message!.properties.headers }, {});
});

Deno.test("a broker that stays away is told, with what was done before it", async () => {
  await using test = await setup();
  const lines = Array.from({ length: 20_000 }, (_, n) => test.line(`${n}`));
  await test.save(lines);
  const replay = test.tool("--from", test.file, "--timeout", "0.5");
  await eventually(async () => {
    if (await test.probe.count(test.queue) < 2000) throw new Error("not yet");
  });
  test.cable.cut("down");
  const { code, stdout, stderr } = await replay.ended();
  assert.equal(code, 1);
  const [, line] = /\nline (\d+): Cannot publish: no confirm within 0\.5 s/.exec(stderr)!;
  const [, published] = /Replayed (\d+) messages/.exec(stdout)!;
  assert.equal((await test.position()).at.line, Number(line) - 1);
  assert.equal(published, String(Number(line) - 1));
  test.cable.plug();
  assert.equal((await test.tool("--from", test.file).ended()).code, 0);
});

Deno.test("wrong usage is refused with 2", async () => {
  await using test = await setup();
  await test.save([test.line("a")]);
  const wrong: [string[], RegExp][] = [
    [[], /^one of --from FILE and --from-mongo is needed/],
    [["--from", test.file, "--from-mongo"], /^one of --from FILE and --from-mongo is needed/],
    [["--from", "/no/such"], /^Cannot read '\/no\/such': /],
    [["--from", test.directory], /^Cannot read '.*': it is a directory/],
    [["--from", test.file, "--speed", "0"], /^--speed: expected a number above 0, or max, not '0'/],
    [["--from", test.file, "--since", "soon"], /^--since: expected a date such as .*, not 'soon'/],
    [["--from", test.file, "--where", "x"], /^--where: expected JSON/],
    [["--from", test.file, "--where", '{"$x":1}'], /^--where: no query: /],
    [
      ["--from", test.file, "--position", "/tmp/x"],
      /^Cannot write '\/tmp\/x': the task may write /,
    ],
    [["--from", "-", "--position", "x"], /^--position: standard input can be read once only/],
  ];
  for (const [args, reason] of wrong) {
    const { code, stderr } = await test.tool(...args).ended();
    assert.match(stderr, reason);
    assert.equal(code, 2, args.join(" "));
  }
  await test.save([test.line("a", { properties: {} })]);
  const { code, stderr } = await test.tool("--from", test.file, "--since", "2026-01-01").ended();
  assert.equal(code, 1);
  assert.match(stderr, /^line 1: it has no time, .*\. Nothing was published\n$/);
});
