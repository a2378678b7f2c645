import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { startEmbedded } from "@event-sink/embedded";
import { parseSaved } from "@event-sink/lib";
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
import { linesOf } from "./show.ts";
import { sourceOf } from "./source.ts";

const folder = "consumers/tap";

/** An exchange, and what publishes to it and taps it. */
async function setup(type = "fanout") {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const exchange = unique("tap");
  const probe = stack.use(
    await connectProbe(servers.amqpUrl, { queues: [exchange], exchanges: [exchange] }),
  );
  await probe.channel.assertExchange(exchange, type, { durable: true });
  const channel = await probe.model.createConfirmChannel();
  channel.on("error", () => {});
  const folderOfTest = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(folderOfTest, { recursive: true }));
  const owned = stack.move();
  return {
    ...{ cable, exchange, probe, file: `${folderOfTest}/saved.ndjson` },
    start: (...args: string[]) =>
      owned.use(startTool(folder, "tap", args, { AMQP_URL: cable.url })),
    async tap(...args: string[]) {
      const tool = owned.use(startTool(folder, "tap", args, { AMQP_URL: cable.url }));
      await tool.seen(/Tapping /);
      return tool;
    },
    async publish(bodies: (string | Buffer)[], key = "", options = {}) {
      for (const body of bodies) channel.publish(exchange, key, Buffer.from(body), options);
      await channel.waitForConfirms();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The bodies of lines of JSON. */
function bodiesOf(lines: string): string[] {
  return lines.trimEnd().split("\n").filter((line) => line).map((line) =>
    new TextDecoder().decode(parseSaved(line).body)
  );
}
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => `${from + n}`);

Deno.test("tap shows exchange, key, properties, headers and body, and a consumer still gets everything", async () => {
  await using test = await setup("topic");
  const { exchange, probe } = test;
  await probe.channel.assertQueue(exchange, { durable: true });
  await probe.channel.bindQueue(exchange, exchange, "#");
  const taps = [await test.tap(exchange, "--limit", "2"), await test.tap(exchange, "--limit", "2")];
  const options = { messageId: "m1", headers: { "x-a": "b\x1b[2J", "x-b": [1] }, timestamp: 0 };
  await test.publish(['{"a": 1.10, "b": ["x"]}'], "kern.info", options);
  await test.publish([Buffer.from("caf\xe9\n", "latin1")]);
  for (const tap of taps) {
    const { code, stdout, stderr } = await tap.ended();
    assert.equal(code, 0, stderr);
    const [first, ...rest] = stdout.trimEnd().split("\n");
    assert.match(
      first!,
      /^test\.tap\.\w+ {2}kern\.info {2}20\S+Z {2}messageId=m1 timestamp=1970-01-01T00:00:00\.000Z 23 bytes$/,
    );
    assert.deepEqual(rest.filter((line) => !line.includes("no key")), [
      "  x-a: b\\x1b[2J",
      "  x-b: [1]",
      "  {",
      '    "a": 1.10,',
      '    "b": [',
      '      "x"',
      "    ]",
      "  }",
      "  caf\\xe9\\x0a",
    ]);
  }
  await eventually(async () => assert.equal(await probe.count(exchange), 2));
});

Deno.test("tap binds by patterns, and without one to everything but what is direct", async () => {
  for (
    const [type, pattern, expected] of [
      ["topic", [":kern.*", ":*.critical"], ["kern.info", "a.critical", "kern.critical", "stop"]],
      ["topic", [], ["kern.info", "a.critical", "kern.critical", "b", "stop"]],
      ["fanout", [], ["kern.info", "a.critical", "kern.critical", "b", "stop"]],
      ["headers", [], ["kern.info", "a.critical", "kern.critical", "b", "stop"]],
      ["direct", [":a.critical", ":b"], ["a.critical", "b", "stop"]],
    ] as const
  ) {
    await using test = await setup(type);
    const words = pattern.map((each) => test.exchange + each);
    const stop = words.length > 0 ? [`${test.exchange}:stop`] : [test.exchange];
    const limit = `${expected.length}`;
    const tap = await test.tap(...words, ...stop, "--json", "--limit", limit);
    for (const key of ["kern.info", "a.critical", "kern.critical", "b", "stop"]) {
      await test.publish([key], key, { headers: { key } });
    }
    assert.deepEqual(bodiesOf((await tap.ended()).stdout), [...expected], type);
  }
});

Deno.test("a direct exchange without a key, and a key for one that looks at none, are wrong usage", async () => {
  for (
    const [type, word, pattern] of [
      ["direct", "", /^'\S+' is a direct exchange: name a key of it, or several: \S+:KEY\n$/],
      ["fanout", ":a", /^'\S+' is a fanout exchange, which looks at no key: name it alone\n$/],
      ["headers", ":a", /^'\S+' is a headers exchange, .* alone, or choose with --where\n$/],
    ] as const
  ) {
    await using test = await setup(type);
    const { code, stderr } = await test.start(test.exchange + word).ended();
    assert.equal(code, 2);
    assert.match(stderr, pattern);
  }
  await using servers = await startServers();
  await using probe = await connectProbe(servers.amqpUrl);
  const missing = unique("missing");
  const { code } = await startTool(folder, "tap", [missing], { AMQP_URL: servers.amqpUrl }).ended();
  assert.equal(code, 1);
  await assert.rejects(probe.channel.checkExchange(missing), { code: 404 }); // it was not declared
});

Deno.test("an exchange is divided from its pattern by the last colon without a backslash", () => {
  assert.deepEqual(sourceOf("x"), { exchange: "x", key: "#", chosen: false });
  assert.deepEqual(sourceOf("x:"), { exchange: "x", key: "", chosen: true });
  assert.deepEqual(sourceOf("urn:a:b.#"), { exchange: "urn:a", key: "b.#", chosen: true });
  assert.deepEqual(sourceOf("urn\\:a"), { exchange: "urn:a", key: "#", chosen: false });
  assert.deepEqual(sourceOf("x:urn\\:a"), { exchange: "x", key: "urn:a", chosen: true });
  assert.throws(() => sourceOf(":key"), /default exchange/);
  assert.throws(() => sourceOf("amq.direct"), /name a key/);
});

Deno.test("an exchange that does not exist, or goes away, is one line and exit code 1", async () => {
  await using test = await setup();
  const missing = await test.start("test.tap.none").ended();
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /^There is no exchange 'test\.tap\.none' at \S+\n$/);
  const tap = await test.tap(test.exchange, "--json");
  await test.publish(["before"]);
  await tap.seen(/before/);
  await test.probe.channel.deleteExchange(test.exchange);
  const { code, stderr } = await tap.ended();
  assert.equal(code, 1);
  assert.match(stderr, /\nThe exchange 'test\.tap\.\w+' is gone from \S+\n$/);
  assert.equal(stderr.trimEnd().split("\n").length, 2);
});

Deno.test("an exchange that was made anew is tapped again", async () => {
  await using test = await setup();
  const tap = await test.tap(test.exchange, "--json");
  await test.publish(["before"]);
  await tap.seen(/before/);
  await test.probe.channel.deleteExchange(test.exchange);
  await test.probe.channel.assertExchange(test.exchange, "fanout", { durable: true });
  await eventually(async () => {
    await test.publish(["after"]);
    assert.match(tap.output.stdout, /after/);
  });
  tap.kill("SIGTERM");
  assert.equal((await tap.ended()).code, 0);
});

Deno.test("a lost connection is said, and the tap goes on after it", async () => {
  await using test = await setup();
  const tap = await test.tap(test.exchange, "--json");
  await test.publish(["before"]);
  await tap.seen(/before/);
  test.cable.cut("down");
  await tap.seen(/Lost the connection/);
  test.cable.plug();
  await tap.seen(/Tapping again; what was published meanwhile was not seen/);
  await test.publish(["after"]);
  await tap.seen(/after/);
  tap.kill("SIGINT");
  const { code, stderr, stdout } = await tap.ended();
  assert.equal(code, 0, stderr);
  assert.deepEqual(bodiesOf(stdout), ["before", "after"]);
  assert.equal(stderr.trimEnd().split("\n").length, 4, stderr); // lost, connected, again
});

Deno.test("a broker that starts anew is tapped again, or not if it has forgotten the exchange", async () => {
  await using stack = new AsyncDisposableStack();
  const data = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(data, { recursive: true }));
  let broker = await startEmbedded({ data });
  const { amqpUrl } = broker;
  const amqpPort = Number(new URL(amqpUrl).port);
  {
    await using probe = await connectProbe(amqpUrl);
    await probe.channel.assertExchange("kept", "fanout", { durable: true });
    await probe.channel.assertExchange("forgotten", "fanout", { durable: false });
  }
  const tap = async (exchange: string) => {
    const tool = stack.use(startTool(folder, "tap", [exchange, "--json"], { AMQP_URL: amqpUrl }));
    await tool.seen(/Tapping /);
    return tool;
  };
  const [kept, forgotten] = [await tap("kept"), await tap("forgotten")];
  await broker[Symbol.asyncDispose]();
  broker = stack.use(await startEmbedded({ data, amqpPort }));
  await kept.seen(/Tapping again/);
  await using probe = await connectProbe(amqpUrl);
  probe.channel.publish("kept", "", Buffer.from("after"));
  await kept.seen(/after/);
  const { code, stderr } = await forgotten.ended();
  assert.equal(code, 1);
  assert.match(stderr, /\nThe exchange 'forgotten' is gone from \S+\n$/);
});

Deno.test("tap ends with 0 when nobody reads its output any more", async () => {
  await using test = await setup();
  const tap = await test.tap(test.exchange);
  await tap.closeStdout();
  await test.publish(["a", "b"]);
  assert.equal((await tap.status).code, 0);
});

Deno.test("a tap that stands still keeps its queue bounded: the oldest are dropped", async () => {
  await using test = await setup();
  const tap = await test.tap(test.exchange, "--json");
  tap.kill("SIGSTOP");
  await test.publish(numbers(0, 70_000));
  tap.kill("SIGCONT");
  await tap.seen(/"body":"69999"/);
  await tap.seen(/The tap is slower than what it taps: messages are dropped unseen/);
  tap.kill("SIGINT");
  const { stdout, stderr } = await tap.ended();
  const seen = bodiesOf(stdout);
  const [, unseen] = /(\d+) messages dropped unseen\n$/.exec(stderr)!;
  assert.equal(Number(unseen), 70_000 - seen.length);
  assert.equal(seen[0], "0");
  assert(seen.length >= 50_000 && seen.length < 62_000, `${seen.length}`);
  assert.deepEqual(seen.slice(-50_000), numbers(20_000, 70_000));
});

Deno.test("--where, --limit and --for choose and end; what is no query or time is wrong usage", async () => {
  await using test = await setup();
  const where = '{"body.n": {"$gte": 2}, "headers.h": "x", "text": {"$regex": "n"}}';
  const tap = await test.tap(test.exchange, "--json", "--where", where, "--limit", "2");
  await test.publish(["no", ...[1, 2, 3, 4].map((n) => `{"n":${n}}`)], "", { headers: { h: "x" } });
  const chosen = await tap.ended();
  assert.equal(chosen.code, 0);
  assert.deepEqual(bodiesOf(chosen.stdout), ['{"n":2}', '{"n":3}']);
  const timed = await test.start(test.exchange, "--for", "0.2s").ended();
  assert.deepEqual([timed.code, timed.stdout], [0, ""]);
  for (
    const [args, pattern] of [
      [["--where", '{"a":'], /^--where: expected JSON/],
      [["--where", '{"a": {"$no": 1}}'], /^--where: no query/],
      [["--for", "5"], /^--for: expected a time up to 24d, such as 30s or 5m, not '5'\n$/],
      [["--queue", "x"], /^Cannot tap both/],
    ] as const
  ) {
    const { code, stderr } = await test.start(test.exchange, ...args).ended();
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
});

Deno.test("--save appends whole lines, binary exactly; a cut off last line is removed", async () => {
  await using test = await setup();
  const binary = Buffer.from([0, 255, 254, 10]);
  const headers = { bytes: Buffer.from([1, 255]), time: { "!": "timestamp", value: 5 } };
  const first = await test.tap(test.exchange, "--save", test.file);
  const second = await test.start(test.exchange, "--save", test.file).ended();
  assert.equal(second.code, 1);
  assert.match(second.stderr, /^Cannot save to '.*': another tap saves to it\n$/);
  await test.publish([binary], "k", { headers, priority: 3 });
  await first.seen(/x00/);
  first.kill("SIGKILL");
  await first.ended();
  const { time, ...saved } = parseSaved((await Deno.readTextFile(test.file)).trimEnd());
  assert(time! <= new Date());
  assert.deepEqual(Buffer.from(saved.body), binary);
  assert.deepEqual(saved.properties, { priority: 3, headers });
  assert.deepEqual([saved.exchange, saved.routingKey], [test.exchange, "k"]);
  assert.equal((await Deno.stat(test.file)).mode! & 0o777, 0o600);

  await Deno.writeTextFile(test.file, '{"time":"2026-', { append: true });
  const third = await test.tap(test.exchange, "--save", test.file, "--limit", "1");
  assert.match(third.output.stderr, /The last line of '.*' was cut off; it is removed/);
  await test.publish(["more"]);
  assert.equal((await third.ended()).code, 0);
  const lines = (await Deno.readTextFile(test.file)).trimEnd().split("\n").map(parseSaved);
  assert.deepEqual(lines.map(({ body }) => body.length), [4, 4]);

  await Deno.writeTextFile(test.file, "a list");
  const foreign = await test.start(test.exchange, "--save", test.file).ended();
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /^Cannot save to '.*': its last line is no saved message\n$/);
  assert.equal(await Deno.readTextFile(test.file), "a list");
  const nowhere = await test.start(test.exchange, "--save", `${test.file}.d/file`).ended();
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /^Cannot save to '\S+': No such file or directory.*\n$/);
});

Deno.test("--save on a full disk is one line, and leaves whole lines", async () => {
  await using test = await setup();
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${root}${folder}/deno.json`));
  // A limit for the size of files, in blocks of 512 bytes, stands for the disk.
  const script =
    `trap '' XFSZ; ulimit -f 64; exec ${tasks.tap} ${test.exchange} --save ${test.file}`;
  await using tap = start(["-c", script], {
    command: "/bin/sh",
    cwd: root + folder,
    env: { AMQP_URL: test.cable.url },
  });
  await tap.seen(/Tapping /);
  await test.publish(Array.from({ length: 100 }, () => "x".repeat(1000)));
  const { code, stderr } = await tap.ended();
  assert.equal(code, 1, stderr);
  assert.match(stderr, /\nCannot save to '\S+': File too large.*\n$/);
  const text = await Deno.readTextFile(test.file);
  assert(text === "" || text.endsWith("\n"));
  for (const body of bodiesOf(text)) assert.equal(body.length, 1000);
});

Deno.test("a tap is ready while it consumes, and says so", async () => {
  await using test = await setup();
  const tap = await test.tap(test.exchange, "--status-port", "0");
  const [, url] = await tap.seen(/at (http:\S+)/);
  await eventually(async () => {
    const answer = await fetch(`${url}/readyz`);
    assert.equal(answer.status, 200, await answer.text());
  });
  await test.publish(["a"]);
  await tap.seen(/1 bytes/);
  const text = await (await fetch(`${url}/metrics`)).text();
  assert.match(text, /messaging_client_consumed_messages_total\{[^}]*test\.tap[^}]*\} 1\n/);
  test.cable.cut("down");
  await eventually(async () => {
    const answer = await fetch(`${url}/readyz`);
    assert.equal(answer.status, 503, await answer.text());
  });
});

Deno.test("linesOf() colours JSON, and cuts what is long", () => {
  const message = {
    exchange: "x",
    routingKey: "k",
    body: Buffer.from('{"a":[1,null,"b\u202e"]}'),
    properties: {},
  };
  assert.deepEqual(linesOf(message, true), [
    "\x1b[1mx\x1b[0m  \x1b[36mk\x1b[0m  \x1b[2m21 bytes\x1b[0m",
    "  {",
    '    \x1b[34m"a"\x1b[0m: [',
    "      \x1b[33m1\x1b[0m,",
    "      \x1b[31mnull\x1b[0m,",
    '      \x1b[32m"b\\u202e"\x1b[0m',
    "    ]",
    "  }",
  ]);
  const long = {
    ...message,
    body: Buffer.alloc(10 ** 7, "x"),
    properties: { headers: { h: "y".repeat(10 ** 6) } },
  };
  for (const line of linesOf(long, true)) assert(line.length < 10_000);
});
