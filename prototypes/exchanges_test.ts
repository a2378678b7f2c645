import assert from "node:assert/strict";
import { eventually, type Running } from "../lib/testing.ts";
import { ready, setup } from "./testing.ts";

const cases = {
  "direct-exchange": {
    bind: [["warning", "error"], ["info"], ["error"]],
    send: ["error", "info", "warning"],
    receive: [["error", "warning"], ["info"], ["error"]],
  },
  "topic-exchange": {
    bind: [["kern.*", "*.critical"], ["#"], ["kern.#"]],
    send: ["kern.critical", "auth.critical", "kern.disk.full", "kern"],
    receive: [
      ["kern.critical", "auth.critical"],
      ["kern.critical", "auth.critical", "kern.disk.full", "kern"],
      ["kern.critical", "kern.disk.full", "kern"],
    ],
  },
};

for (const [pattern, { bind, send, receive }] of Object.entries(cases)) {
  Deno.test(`${pattern}: each recv prints what its keys select, once, with the key`, async () => {
    await using test = await setup();
    const receivers = bind.map((keys) => test.tool(pattern, "recv", ...keys));
    for (const receiver of receivers) await receiver.seen(ready);
    const mark = crypto.randomUUID();
    for (const key of send) {
      const { code, stdout, stderr } = await test.tool(pattern, "send", key, mark, "a  b").ended();
      assert.equal(stdout, ` [x] Sent '${key} ${mark} a  b'\n`, stderr);
      assert.equal(code, 0);
    }
    await eventually(() => {
      const got = receivers.map(({ output }) =>
        [...output.stdout.matchAll(/Received '(.*)'\n/g)]
          .map(([, text]) => text)
      );
      const wanted = receive.map((keys) => keys.map((key) => `${key}':'${mark} a  b`));
      assert.deepEqual(got, wanted);
    });
  });

  Deno.test(`${pattern}: send says when nobody is bound for a key, and which words it lacks`, async () => {
    await using test = await setup();
    if (pattern === "direct-exchange") { // a queue of another test, bound for every topic, may live on for a minute
      const key = `nobody-${crypto.randomUUID()}`;
      const lost = await test.tool(pattern, "send", key, "text").ended();
      assert.equal(lost.code, 1);
      assert.match(lost.stderr, new RegExp(`no queue is bound .* for routing key '${key}'`));
    }
    for (const words of [[], ["error"], [" error", "text"]]) {
      const wrong = await test.tool(pattern, "send", ...words).ended();
      assert.match(wrong.stderr, /expected a routing key and a text/);
      assert.equal(wrong.code, 2);
    }
    const none = await test.tool(pattern, "recv").ended();
    assert.match(none.stderr, /missing required argument/);
    assert.equal(none.code, 2);
  });

  Deno.test(`${pattern}: send --file takes the key from the start of each line`, async () => {
    await using test = await setup();
    const recv = test.tool(pattern, "recv", "a.b");
    await recv.seen(ready);
    const send = test.tool(pattern, "send", "--file", "-");
    await send.input("a.b one\na.b caf\u00e9 two\n");
    assert.match((await send.ended()).stdout, /Sent 2 messages/);
    await recv.seen(/'a\.b':'one'\n \[x\] Done\n \[x\] Received 'a\.b':'caf\u00e9 two'\n/);
  });
}

Deno.test("a lost connection costs a recv of direct-exchange none of the messages", async () => {
  await using test = await setup();
  const cable = test.cable();
  const recv = test.tool("direct-exchange", "recv", "cut", { AMQP_URL: cable.url });
  await recv.seen(ready);
  cable.cut("down");
  await recv.seen(/Reconnecting/);
  assert.equal((await test.tool("direct-exchange", "send", "cut", "meanwhile").ended()).code, 0);
  cable.plug();
  await recv.seen(/Received 'cut':'meanwhile'/);
});

Deno.test("headers-exchange: all or any of the headers", async () => {
  await using test = await setup();
  const pattern = "headers-exchange";
  const mark = crypto.randomUUID();
  const own = `mark=${mark}`; // other tests' messages are in the exchange, too
  const all = test.tool(pattern, "recv", own, "format=pdf", "type=report");
  const any = test.tool(pattern, "recv", "--match", "any", `a=${mark}`, `b=${mark}`);
  for (const receiver of [all, any]) await receiver.seen(ready);
  const send = (header: string, text: string) =>
    test.tool(pattern, "send", "--header", header, text).ended();
  assert.equal((await send(`${own},format=pdf,type=report,pages=3`, "both")).code, 0);
  const half = await send(`${own},format=pdf,type=log`, "half");
  assert.equal(half.code, 1);
  assert.match(half.stderr, /no queue is bound to exchange 'header_logs'/);
  assert.equal((await send(`b=${mark}`, "b")).code, 0);
  assert.equal((await send(`a=${mark},b=other`, "a")).code, 0);
  const received = ({ output }: Running) =>
    [...output.stdout.matchAll(/Received \{.*\}:'(.*)'/g)].map(([, text]) => text);
  await eventually(() => assert.deepEqual([all, any].map(received), [["both"], ["b", "a"]]));
});

Deno.test("headers-exchange: wrong usage is one line and exit code 2", async () => {
  await using test = await setup();
  const cases: [string, string[], RegExp][] = [
    ["recv", ["pdf"], /^expected headers as NAME=VALUE, not 'pdf'\n$/],
    ["recv", ["x-type=a"], /^x-type: x- headers are not compared\n$/],
    ["recv", ["--match", "some", "a=b"], /^--match: expected all or any, not 'some'\n$/],
    ["recv", ["a=b", "a=c"], /^a header is given twice/],
    ["send", ["--header", "a=b,a=c", "text"], /^--header: a message has each header once\n$/],
    ["recv", [], /missing required argument/],
    ["send", ["--header", "a=b,c", "text"], /^--header: expected NAME=VALUE, not 'c'\n$/],
    ["send", ["--header", "a=b", "--header", "c=d", "text"], /^--header is given twice/],
    ["send", ["--header", "", "text"], /^--header: expected NAME=VALUE, not ''\n$/],
  ];
  for (const [task, args, error] of cases) {
    const ended = await test.tool("headers-exchange", task, ...args).ended();
    assert.match(ended.stderr, error);
    assert.equal(ended.code, 2);
  }
});
