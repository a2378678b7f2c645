import assert from "node:assert/strict";
import { connectProbe, eventually, start } from "../lib/testing.ts";
import { ready, setup } from "./testing.ts";

const received = (mark: string, stdout: string) =>
  [...stdout.matchAll(new RegExp(`'${mark} (.*)'\n.*Done, (.*) s after its time`, "g"))]
    .map(([, text, late]) => ({ text, late: Number(late) }));

Deno.test("delayed: mixed delays arrive in the order of their times, none early, each at most half a second late", async () => {
  await using test = await setup();
  const mark = crypto.randomUUID();
  const recv = test.tool("delayed", "recv");
  await recv.seen(ready);
  const delays = ["4s", "1s", "6.5s", "2.5s", "0s", "5500ms", "0.05m"];
  const sends = delays.map((delay) =>
    test.tool("delayed", "send", "--in", delay, mark, delay).ended()
  );
  for (const { code, stderr } of await Promise.all(sends)) assert.equal(code, 0, stderr);
  await eventually(() => assert.equal(received(mark, recv.output.stdout).length, delays.length));
  const got = received(mark, recv.output.stdout);
  assert.deepEqual(
    got.map(({ text }) => text),
    ["0s", "1s", "2.5s", "0.05m", "4s", "5500ms", "6.5s"],
  );
  for (const { text, late } of got) assert(late >= -0.01 && late < 0.5, `${text}: ${late} s late`);
});

Deno.test("delayed: a long delay holds up no short one behind it, and bad times are refused", async () => {
  await using test = await setup();
  const mark = crypto.randomUUID();
  assert.equal((await test.tool("delayed", "send", "--in", "19d", mark, "far").ended()).code, 0);
  assert.equal((await test.tool("delayed", "send", "--in", "0.3s", mark, "near").ended()).code, 0);
  const recv = test.tool("delayed", "recv");
  await eventually(() => assert.equal(received(mark, recv.output.stdout)[0]?.text, "near"));
  await using probe = await connectProbe(test.amqpUrl);
  assert.equal((await probe.channel.purgeQueue("delayed.23")).messageCount >= 1, true); // that of 19 days
  for (const time of ["", "5", "-1s", "20d", "1e9s", "soon", "NaNs"]) {
    const { code, stderr } = await test.tool("delayed", "send", `--in=${time}`, "x").ended();
    assert.match(stderr, /^--in: expected a time up to 19d, such as 30s or 1\.5h, not '/);
    assert.equal(code, 2);
  }
});

Deno.test("delayed: what waits survives a restart of the broker, and the time that it is down counts", async () => {
  const data = await Deno.makeTempDir();
  const port = freePort();
  const up = async () => {
    const args = ["--data", data, "--amqp-port", `${port}`, "--mongo-port", "0"];
    const broker = start(
      [
        "run",
        "--allow-net",
        "--allow-read",
        "--allow-write",
        "--allow-env",
        "embedded/up.ts",
        ...args,
      ],
    );
    const [, url] = await broker.seen(/^AMQP_URL=(.*)$/m);
    return { broker, env: { AMQP_URL: url! } };
  };
  try {
    await using test = await setup();
    const first = await up();
    const recv = test.tool("delayed", "recv", first.env);
    await recv.seen(ready);
    for (const delay of ["3s", "1.2s"]) {
      assert.equal(
        (await test.tool("delayed", "send", "--in", delay, "x", delay, first.env).ended()).code,
        0,
      );
    }
    first.broker.kill("SIGKILL");
    await first.broker.ended();
    await recv.seen(/Reconnecting/);
    await using _second = (await up()).broker;
    await eventually(() => assert.equal(received("x", recv.output.stdout).length, 2));
    const [soon, later] = received("x", recv.output.stdout);
    assert.deepEqual([soon!.text, later!.text], ["1.2s", "3s"]);
    assert(later!.late < 6, `${later!.late} s late`); // a recv reconnects within 5 s
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
