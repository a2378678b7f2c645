import assert from "node:assert/strict";
import { eventually } from "../../lib/testing.ts";
import { event, folder, ready, setup } from "./testing.ts";

Deno.test("send takes what follows -- as the message, and Hello World! when there is none", async () => {
  await using test = await setup();
  assert.equal((await test.send("--", "--help").ended()).stdout, " [x] Sent '--help'\n");
  assert.equal((await test.send().ended()).stdout, " [x] Sent 'Hello World!'\n");
});

Deno.test("send gives up after --timeout with 1", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const { code, stdout, stderr } = await test.send("--timeout", "0.5", "x").ended();
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /\(tried within 0\.5 s\); start a broker with: deno task up\n$/);
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

Deno.test("an empty word is an empty message, and an empty name is refused with 2", async () => {
  await using test = await setup();
  await test.bind();
  assert.equal((await test.send("").ended()).stdout, " [x] Sent ''\n");
  await eventually(async () => assert.equal((await test.probe.take(test.queue)).content.length, 0));
  for (const flag of ["--file", "--unsent"]) {
    const { code, stderr } = await test.send(flag, "").ended();
    assert.equal(code, 2);
    assert.equal(stderr, `${flag}: expected FILE, not an empty text\n`);
  }
  const recv = await test.recv("--queue", "").ended();
  assert.equal(recv.code, 2);
  assert.equal(recv.stderr, "--queue: expected NAME, not an empty text\n");
});

Deno.test("a send that is interrupted before the confirm ends with 1 and says so", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const one = test.send("x");
  await one.seen(/Waiting for the broker/);
  one.kill("SIGINT");
  const { code, stderr } = await one.ended();
  assert.equal(code, 1);
  assert.match(stderr, /\nNot sent: stopped before the broker has confirmed it\n$/);
});

Deno.test("send --file - that is interrupted while it waits for a line ends at once, with 1", async () => {
  await using test = await setup();
  const send = test.send("--file", "-");
  const writer = send.openInput();
  await test.bind();
  const mark = event();
  await writer.write(new TextEncoder().encode(`${mark}\n`));
  await eventually(async () =>
    assert.equal((await test.probe.take(test.queue)).content.toString(), mark)
  );
  const since = performance.now();
  send.kill("SIGINT");
  await send.seen(/Not sent: what comes after line 1; send it with: tail -n \+2\n/);
  assert(performance.now() - since < 5000, "it did not wait for the end of its input");
  assert.equal((await send.ended()).code, 1);
});

Deno.test("send --unsent writes what was not sent, each line once, ready for --file", async () => {
  await using test = await setup();
  await test.bind();
  const mark = event();
  const all = Array.from({ length: 20_000 }, (_, number) => `${mark} ${number}`);
  const directory = await Deno.makeTempDir({ dir: folder });
  try {
    await Deno.writeTextFile(`${directory}/all`, all.join("\n"));
    const name = directory.slice(folder.length + 1);
    const files = ["--file", `${name}/all`, "--unsent", `${name}/unsent`];
    const send = test.send(...files, "--timeout", "0.5");
    await eventually(async () => assert(await test.probe.count(test.queue) > 1000));
    test.cable.cut("down");
    const { code, stdout, stderr } = await send.ended();
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`it is in '${name}/unsent', for --file\\n$`));
    const unsent = (await Deno.readTextFile(`${directory}/unsent`)).trimEnd().split("\n");
    const sent = Number(/Sent (\d+) messages/.exec(stdout)![1]);
    assert.equal(sent + unsent.length, all.length);
    test.cable.plug();
    assert.equal((await test.send("--file", `${name}/unsent`).ended()).code, 0);
    const arrived = new Set<string>();
    await test.probe.channel.consume(test.queue, (message) => {
      const text = message?.content.toString() ?? ""; // null: the end deletes the queue
      if (text.startsWith(mark)) arrived.add(text);
    }, { noAck: true });
    await eventually(() => assert.equal(arrived.size, all.length));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("send refuses to write what was not sent over the file that it sends", async () => {
  await using test = await setup();
  await test.bind();
  const file = await Deno.makeTempFile({ dir: folder });
  try {
    await Deno.writeTextFile(file, "one\ntwo\n");
    const name = file.slice(folder.length + 1);
    const { code, stderr } = await test.send("--file", name, "--unsent", `./${name}`).ended();
    assert.equal(code, 2);
    assert.match(stderr, /is the file to send, and would be overwritten\n$/);
    assert.equal(await Deno.readTextFile(file), "one\ntwo\n");
  } finally {
    await Deno.remove(file);
  }
});
