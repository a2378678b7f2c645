import assert from "node:assert/strict";
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

const folder = "consumers/echo";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("echo");
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  const env = { AMQP_URL: cable.url };
  const owned = stack.move();
  return {
    amqpUrl: servers.amqpUrl,
    cable,
    queue,
    probe,
    recv: (...args: string[]) =>
      owned.use(startTool(folder, "recv", ["--queue", queue, ...args], env)),
    send: (...args: string[]) => owned.use(startTool(folder, "send", args, env)),
    tool: (task: string, args: string[], env: Record<string, string>) =>
      owned.use(startTool(folder, task, args, env)),
    /** Binds the test's queue without a recv. */
    async bind() {
      await probe.channel.assertQueue(queue, { durable: true });
      await probe.channel.assertExchange("clowder.metrics", "fanout", { durable: true });
      await probe.channel.bindQueue(queue, "clowder.metrics", "");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Other tests publish to the same exchange, so a test looks for its own words. */
function event(): string {
  return `event ${crypto.randomUUID()}`;
}

const ready = /^ \[\*\] Waiting for messages\. To exit press CTRL\+C$/m;

Deno.test("send and recv show the tutorial's lines, and Ctrl-C ends recv with 0", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  const text = event();
  const sent = await test.send(...text.split(" ")).ended();
  assert.deepEqual(sent, { code: 0, signal: null, stdout: ` [x] Sent '${text}'\n`, stderr: "" });
  await recv.seen(new RegExp(` \\[x\\] Received '${text}'\n \\[x\\] Done\n`));
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
});

Deno.test("send takes what follows -- as the message, and Hello World! when there is none", async () => {
  await using test = await setup();
  assert.equal((await test.send("--", "--help").ended()).stdout, " [x] Sent '--help'\n");
  assert.equal((await test.send().ended()).stdout, " [x] Sent 'Hello World!'\n");
});

Deno.test("recv works a second per dot, and gives the message back at Ctrl-C", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "60");
  await recv.seen(ready);
  const text = event() + ".";
  await test.send(text).ended();
  await recv.seen(new RegExp(`Received '${text}'`));
  recv.kill("SIGTERM");
  const { code, stdout } = await recv.ended();
  assert.equal(code, 0);
  assert.doesNotMatch(stdout, /Done/);
  const back = await test.probe.take(test.queue);
  assert.equal(back.content.toString(), text);
  assert.equal(back.fields.redelivered, true);
});

Deno.test("a killed recv's message goes to another one", async () => {
  await using test = await setup();
  const first = test.recv("--work", "60");
  await first.seen(ready);
  const text = event() + ".";
  await test.send(text).ended();
  await first.seen(new RegExp(`Received '${text}'`));
  const second = test.recv("--work", "0");
  await second.seen(ready);
  first.kill("SIGKILL");
  await second.seen(new RegExp(`Received '${text}'\n \\[x\\] Done`));
});

Deno.test("a second Ctrl-C ends recv at once, with 1", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "60", "--log-level", "debug");
  await recv.seen(ready);
  // A broker that is silent, neither answering nor gone, holds the shutdown up.
  test.cable.freeze();
  recv.kill("SIGINT");
  await recv.seen(/Stopping/);
  let over = false;
  const ended = recv.ended().finally(() => over = true);
  await eventually(() => {
    if (!over) recv.kill("SIGINT");
    assert(over);
  });
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, /Stopped at once, by a second signal/);
});

Deno.test("one Ctrl-C that comes twice, as it does under deno task, is one", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  recv.kill("SIGINT");
  recv.kill("SIGTERM");
  const { code, stderr } = await recv.ended();
  assert.equal(code, 0, stderr);
});

Deno.test("a silent broker does not keep recv from ending", async () => {
  await using test = await setup();
  const recv = test.recv();
  await recv.seen(ready);
  test.cable.freeze();
  recv.kill("SIGINT");
  const { code } = await recv.ended();
  assert.equal(code, 0);
});

Deno.test("recv waits for a broker that is not there yet, saying how to start one", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const recv = test.recv();
  await recv.seen(/Cannot connect: .* Waiting for the broker; start one with: deno task up/);
  test.cable.plug();
  await recv.seen(ready);
});

Deno.test("at a terminal, under deno task, recv asks for nothing and one Ctrl-C ends it with 0", async () => {
  await using test = await setup();
  // util-linux' script gives the task a terminal and types what comes in. `exec`: dash would stay in between and die of the Ctrl-C.
  await using terminal = start([
    "-qec",
    `exec ${Deno.execPath()} task recv --queue ${test.queue}`,
    "/dev/null",
  ], {
    command: "script",
    cwd: `${root}${folder}`,
    env: { AMQP_URL: test.cable.url },
  });
  await terminal.seen(/Waiting for messages/);
  await terminal.openInput().write(new Uint8Array([3]));
  const { code, stdout } = await terminal.ended();
  assert.equal(code, 0, stdout);
});

Deno.test("recv stops at Ctrl-C while it waits for a broker", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const recv = test.recv();
  await recv.seen(/Waiting for the broker/);
  recv.kill("SIGINT");
  assert.equal((await recv.ended()).code, 0);
});

Deno.test("recv goes on by itself after the broker was away", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  test.cable.cut("down");
  await recv.seen(/Lost the connection to .* Reconnecting/);
  test.cable.plug();
  await recv.seen(/Connected to/);
  const text = event();
  await test.send(text).ended();
  await recv.seen(new RegExp(`Received '${text}'`));
});

Deno.test("send gives up after --timeout with 1", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const { code, stdout, stderr } = await test.send("--timeout", "0.5", "x").ended();
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /\(tried within 0\.5 s\); start a broker with: deno task up\n$/);
});

Deno.test("what cannot succeed is one clear line and the right exit code, without a password", async (t) => {
  await using test = await setup();
  const url = (change: (url: URL) => void) => {
    const url = new URL(test.amqpUrl);
    url.password = "s3cret";
    change(url);
    return url.href;
  };
  const cases: [string, string, number, RegExp][] = [
    ["wrong password", url(() => {}), 1, /^Cannot connect: \S+ refuses this user and password$/],
    [
      "wrong virtual host",
      Object.assign(new URL(test.amqpUrl), { pathname: "/no%2Fsuch" }).href,
      1,
      /^Cannot connect: \S+ refuses the virtual host 'no\/such': it does not exist/,
    ],
    [
      "unknown host",
      url((url) => url.hostname = "no-such-host.invalid"),
      1,
      /^Cannot connect: unknown host in \S+no-such-host/,
    ],
    [
      "another scheme",
      "http://guest:s3cret@localhost",
      2,
      /^AMQP_URL: cannot use 'http:\/\/\*\*\*@localhost': expected amqp:/,
    ],
    ["no URL", "amqp//guest:s3cret@localhost", 2, /^AMQP_URL: cannot use/],
  ];
  for (const task of ["recv", "send"]) {
    for (const [name, AMQP_URL, code, pattern] of cases) {
      await t.step(`${task}: ${name}`, async () => {
        const ended = await test.tool(task, [], { AMQP_URL }).ended();
        assert.match(ended.stderr.trimEnd(), pattern);
        assert.equal(ended.code, code);
        assert.equal(ended.stdout, "");
        assert.doesNotMatch(ended.stderr, /s3cret|\n./);
      });
    }
  }
});

Deno.test("recv ends with 1 when its queue exists with other arguments", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.queue, {
    durable: true,
    arguments: { "x-max-length": 5 },
  });
  const { code, stderr } = await test.recv().ended();
  assert.equal(code, 1);
  assert.match(stderr, /^PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '.*\n$/);
});

Deno.test("wrong usage ends with 2 and help with 0", async () => {
  await using test = await setup();
  for (const args of [["--nope"], ["--work", "x"], ["word"], ["--log-level", "loud"]]) {
    const { code, stdout, stderr } = await test.recv(...args).ended();
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /^\S.*\n$/);
  }
  const help = await test.recv("--help").ended();
  assert.equal(help.code, 0);
  assert.match(
    help.stdout,
    /AMQP_URL[^]*--queue <NAME>[^]*default: event\.sink\)[^]*Dead-letter queue: .*event\.sink\.dlq/,
  );
});

Deno.test("a body of 0 bytes, of invalid UTF-8 and of 20 MB is echoed as it is", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  const { channel } = test.probe;
  const { Buffer } = await import("node:buffer");
  channel.sendToQueue(test.queue, Buffer.alloc(0));
  await recv.seen(/Received ''\n \[x\] Done/);
  channel.sendToQueue(test.queue, Buffer.from([0x63, 0x61, 0x66, 0xe9]));
  await recv.seen(/Received 'caf\\xe9'\n \[x\] Done/);
  channel.sendToQueue(test.queue, Buffer.alloc(20 * 2 ** 20, "x"));
  channel.sendToQueue(test.queue, Buffer.from("last"));
  await recv.seen(/Received 'last'\n \[x\] Done/);
  assert(recv.output.stdout.includes(` [x] Received '${"x".repeat(20 * 2 ** 20)}'\n`));
});

Deno.test("recv ends with 0 and gives its message back when nobody reads its output any more", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  await recv.closeStdout();
  const text = event();
  await test.send(text).ended();
  assert.equal((await recv.ended()).code, 0);
  assert.equal((await test.probe.take(test.queue)).content.toString(), text);
});

Deno.test("a queue deleted under recv is declared again, saying so", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  await eventually(async () => {
    const { consumerCount } = await test.probe.channel.assertQueue(test.queue, { durable: true });
    assert.equal(consumerCount, 1);
  });
  await test.probe.channel.deleteQueue(test.queue);
  await recv.seen(/the broker cancelled the consumer of queue/);
  const text = event();
  await eventually(async () => {
    await test.send(text).ended();
    assert.match(recv.output.stdout, new RegExp(text));
  });
});

Deno.test("send --file sends every line of a file or of standard input, whatever its length", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  const mark = event();
  const long = "y".repeat(10 * 2 ** 20);
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, `${mark} 1\r\n${mark} {"a":1}\n\n${mark} ${long}\n${mark} last`);
  const file = await test.send("--file", path).ended();
  await Deno.remove(path);
  assert.match(file.stdout, /^ \[x\] Sent 5 messages in [\d.]+ s \(\d+\/s\)\n$/);
  await recv.seen(new RegExp(`Received '${mark} last'`));
  for (const text of [`${mark} 1`, `${mark} {"a":1}`, "", `${mark} ${long}`]) {
    assert(recv.output.stdout.includes(` [x] Received '${text}'\n`), text.slice(0, 80));
  }

  const piped = test.send("--file", "-");
  await piped.input(`${mark} piped`);
  assert.match((await piped.ended()).stdout, /Sent 1 message in/);
  await recv.seen(new RegExp(`Received '${mark} piped'`));
});

Deno.test("send --file refuses what it cannot read, and words beside a file, with 2", async () => {
  await using test = await setup();
  for (
    const args of [["--file", "/no/such"], ["--file", "/tmp"], ["--file", "deno.json", "word"]]
  ) {
    const { code, stderr } = await test.send(...args).ended();
    assert.equal(code, 2);
    assert.match(stderr, /^(Cannot read '\/\S+': .*|--file and words: .*)\n$/);
  }
});

Deno.test("send --file names the lines that were not sent when the broker goes away for good", async () => {
  await using test = await setup();
  await test.bind();
  const send = test.send("--file", "-", "--timeout", "1");
  // Without an end of the input there is a line to send after the cut.
  const writer = send.openInput();
  await writer.write(new TextEncoder().encode("1\n2\n3\n4\n"));
  const mine = (text: string) => async () => {
    // Other tests' events come this way too.
    assert.equal((await test.probe.take(test.queue)).content.toString(), text);
  };
  for (const text of ["1", "2", "3", "4"]) await eventually(mine(text));
  test.cable.cut("down");
  await writer.write(new TextEncoder().encode("5\n6\n"));
  const { code, stdout, stderr } = await send.ended();
  assert.equal(code, 1);
  // A confirm that the cut has swallowed makes a line count as not sent, though the queue has it: at least once.
  const sent = Number(/Sent (\d) messages? in/.exec(stdout)![1]);
  assert(sent <= 4, stdout);
  assert(
    stderr.endsWith(
      `Cannot publish: no confirm within 1 s (there is no connection). Not sent: lines ${
        sent + 1
      } to 6, ` +
        `and what comes after line 6; send it with: tail -n +${sent + 1} ` +
        "(those that were sent come twice; --unsent FILE avoids that)\n",
    ),
    stderr,
  );
});

Deno.test("send --unsent keeps the lines that were not sent, those it has not come to included", async () => {
  await using test = await setup();
  await test.bind();
  const name = await Deno.makeTempFile({ dir: `${root}consumers/echo`, prefix: ".unsent-" });
  const lines = Array.from({ length: 50 }, (_, n) => `${n + 1}\n`);
  await Deno.writeTextFile(`${name}.in`, lines.join(""));
  try {
    const args = ["--rate", "20", "--timeout", "1", "--unsent", name];
    const send = test.send("--file", `${name}.in`, ...args);
    await eventually(async () => {
      const { content } = await test.probe.take(test.queue);
      assert.equal(content.toString(), "1"); // other tests' events come this way too
    });
    test.cable.cut("down");
    const { code, stdout } = await send.ended();
    assert.equal(code, 1);
    const sent = Number(/Sent (\d+) messages? in/.exec(stdout)![1]);
    assert(sent < 50, stdout);
    assert.equal(await Deno.readTextFile(name), lines.slice(sent).join(""));
  } finally {
    for (const file of [name, `${name}.in`]) await Deno.remove(file);
  }
});

Deno.test("send --file survives a broker that goes away in the middle: what it reports as sent has arrived", async () => {
  await using test = await setup();
  await test.bind();
  const mark = event();
  const send = test.send("--file", "-");
  const input = send.input(Array.from({ length: 100_000 }, (_, n) => `${mark} ${n}\n`).join(""));
  await eventually(async () => assert(await test.probe.count(test.queue) > 10_000));
  test.cable.cut("down");
  await send.seen(/Reconnecting/);
  test.cable.plug();
  await input;
  const { code, stdout } = await send.ended();
  assert.equal(code, 0);
  assert.match(stdout, /Sent 100000 messages/);
  const arrived = new Set<string>();
  await test.probe.channel.consume(test.queue, (message) => {
    const text = message?.content.toString() ?? ""; // null: the end deletes the queue
    if (text.startsWith(mark)) arrived.add(text);
  }, { noAck: true });
  await eventually(() => assert.equal(arrived.size, 100_000));
});

Deno.test("send --rate holds to the rate", async () => {
  await using test = await setup();
  const send = test.send("--file", "-", "--rate", "50");
  await send.input("x\n".repeat(26));
  const [, seconds] = /in ([\d.]+) s/.exec((await send.ended()).stdout)!;
  assert(Number(seconds) >= 0.5, `${seconds} s for 26 messages`);
});

Deno.test("the root's recv and send are the echo consumer's", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile("deno.json"));
  const own = JSON.parse(await Deno.readTextFile(`${folder}/deno.json`)).tasks;
  for (const name of ["recv", "send"]) {
    assert.equal(tasks[name], own[name].replace(`${name}.ts`, `${folder}/${name}.ts`));
  }
  const { code } = await start(["task", "recv", "--help"]).ended();
  assert.equal(code, 0);
});
