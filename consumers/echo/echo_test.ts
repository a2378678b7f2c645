import assert from "node:assert/strict";
import { eventually, root, start } from "../../lib/testing.ts";
import { event, folder, ready, setup } from "./testing.ts";

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

Deno.test("recv uses a queue that exists with other arguments, and says so", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.queue, {
    durable: true,
    arguments: { "x-max-length": 5 },
  });
  const recv = test.recv();
  await recv.seen(/Waiting for messages/);
  await recv.seen(new RegExp(`Queue '${test.queue}' is used as it is: with another x-max-length`));
  const word = event();
  await test.send(word).ended();
  await recv.seen(new RegExp(word));
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

Deno.test("a body of 0 bytes, of invalid UTF-8 and of 16 MiB is echoed as it is", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  const { channel } = test.probe;
  const { Buffer } = await import("node:buffer");
  channel.sendToQueue(test.queue, Buffer.alloc(0));
  await recv.seen(/Received ''\n \[x\] Done/);
  channel.sendToQueue(test.queue, Buffer.from([0x63, 0x61, 0x66, 0xe9]));
  await recv.seen(/Received 'caf\\xe9'\n \[x\] Done/);
  channel.sendToQueue(test.queue, Buffer.alloc(16 * 2 ** 20, "x"));
  channel.sendToQueue(test.queue, Buffer.from("last"));
  await recv.seen(/Received 'last'\n \[x\] Done/);
  assert(recv.output.stdout.includes(` [x] Received '${"x".repeat(16 * 2 ** 20)}'\n`));
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

Deno.test("the root's recv and send are the echo consumer's", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile("deno.json"));
  const own = JSON.parse(await Deno.readTextFile(`${folder}/deno.json`)).tasks;
  for (const name of ["recv", "send"]) {
    assert.equal(tasks[name], own[name].replace(`${name}.ts`, `${folder}/${name}.ts`));
  }
  const { code } = await start(["task", "recv", "--help"]).ended();
  assert.equal(code, 0);
});

Deno.test("control characters of a message neither reach the terminal nor begin a line", async () => {
  await using test = await setup();
  const recv = test.recv("--work", "0");
  await recv.seen(ready);
  const mark = event();
  await test.send(`${mark}\x1b[2J\n [x] Done\u202e`).ended();
  const [line] = await recv.seen(new RegExp(`^.*${mark}.*$`, "m"));
  assert.equal(line, ` [x] Received '${mark}\\x1b[2J\\n [x] Done\\u202e'`);
});

Deno.test("colour is for terminals, and not with NO_COLOR", async () => {
  await using test = await setup();
  const command = `${Deno.execPath()} task -q recv --queue ${test.queue} --work 0`;
  for (const [env, coloured] of [[{ NO_COLOR: "" }, true], [{ NO_COLOR: "1" }, false]] as const) {
    await using recv = start(["-qefc", command, "/dev/null"], {
      command: "script",
      cwd: `${root}${folder}`,
      env: { AMQP_URL: test.amqpUrl, ...env },
    });
    await recv.seen(/Waiting for messages/);
    assert.equal(recv.output.stdout.includes("\x1b[36m [*]\x1b[0m Waiting"), coloured);
  }
});

Deno.test("a message that ends its consumer each time is dead-lettered, and the one behind it is handled", async () => {
  await using test = await setup();
  await test.bind();
  const deadly = event() + ".";
  await test.send(deadly).ended();
  for (let kills = 0; kills < 20; kills++) {
    await using recv = test.recv("--work", "60");
    await recv.seen(ready);
    const dead = recv.seen(/is now in/).then(() => true, () => false);
    const [what] = await recv.seen(new RegExp(`Received '${deadly}'|is now in`));
    recv.kill("SIGKILL");
    await dead;
    if (what === "is now in") break;
  }
  const letter = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(letter.content.toString(), deadly);
  const reason = `${letter.properties.headers?.["x-reason"]}`;
  assert.match(reason, /^it came back unacknowledged 15 times: /);
  const recv = test.recv("--work", "0");
  const next = event();
  await test.send(next).ended();
  await recv.seen(new RegExp(`Received '${next}'\n \\[x\\] Done`));
});
