import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectProbe, eventually, type Running, unique } from "../lib/testing.ts";
import { receiveSpans } from "../lib/trace_testing.ts";
import { ready, setup } from "./testing.ts";

async function start() {
  const test = await setup();
  await using stack = new AsyncDisposableStack();
  stack.use(test);
  const probe = stack.use(await connectProbe(test.amqpUrl, { queues: ["rpc_queue"] }));
  const owned = stack.move();
  return {
    ...test,
    probe,
    async server(...args: (string | Record<string, string>)[]): Promise<Running> {
      const server = test.tool("rpc", "recv", ...args);
      await server.seen(ready);
      return server;
    },
    ask: (...args: (string | Record<string, string>)[]) => test.tool("rpc", "send", ...args),
    request: (body: string, properties: Record<string, unknown>) =>
      probe.channel.sendToQueue("rpc_queue", Buffer.from(body), properties),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("rpc: fib(30) is 832040, and what is no number is refused by the server", async () => {
  await using test = await start();
  const server = await test.server();
  const { code, stdout, stderr } = await test.ask("30").ended();
  assert.equal(stdout, " [x] Requesting fib(30)\n [.] Got 832040\n", stderr);
  assert.equal(code, 0);
  await server.seen(/ \[\.\] fib\(30\)\n \[x\] Done\n/);
  for (const text of ["x", "", "-1", "99999", "1e3", "\x1b[2J"]) {
    const refused = await test.ask("--", text).ended();
    assert.match(
      refused.stderr,
      /^The server refuses: expected a whole number from 0 to 9999, not /,
    );
    assert.equal(refused.code, 1);
  }
});

Deno.test("rpc: several servers share the requests, each one at a time", async () => {
  await using test = await start();
  const servers = [await test.server("--work", "1"), await test.server("--work", "1")];
  const asked = [test.ask("10"), test.ask("20")];
  for (const { output, ended } of asked) assert.match((await ended(), output).stdout, /Got/);
  for (const server of servers) assert.match(server.output.stdout, /fib\((1|2)0\)/);
});

Deno.test("rpc: the request of a server that dies in the middle is answered by another", async () => {
  await using test = await start();
  const first = await test.server("--work", "60");
  const asked = test.ask("12");
  await first.seen(/fib\(12\)/);
  const second = await test.server();
  first.kill("SIGKILL");
  await asked.seen(/ \[\.\] Got 144\n/);
  await second.seen(/fib\(12\)/);
});

Deno.test("rpc: without an answer send fails in time, and its request is not worked on later", async () => {
  await using test = await start();
  const { code, stderr } = await test.ask("--timeout", "0.5", "30").ended();
  assert.match(stderr, /^No answer within 0\.5 s: is a server running/);
  assert.equal(code, 1);
  await eventually(async () => assert.equal(await test.probe.count("rpc_queue"), 0));
});

Deno.test("rpc: a connection lost in the middle of the work is no silence either", async () => {
  await using test = await start();
  const server = await test.server("--work", "1");
  const cable = test.cable();
  const asked = test.ask("--timeout", "3", "30", { AMQP_URL: cable.url });
  await server.seen(/fib\(30\)/);
  cable.cut();
  // A request that was not confirmed yet is published again on the next connection.
  const { stdout, stderr } = await asked.ended();
  assert.match(stdout + stderr, /Got 832040|No answer within 3 s/);
  await server.seen(/Done/); // a reply to a requester that is gone holds up nothing
  assert.match((await test.ask("3").ended()).stdout, /Got 2\n/);
});

Deno.test("rpc: a reply to a queue that is gone, or to none, is a dead letter with the reason", async () => {
  await using test = await start();
  const queue = unique("reply");
  await test.server();
  await test.probe.channel.assertQueue(queue, { exclusive: true });
  test.request("7", { replyTo: queue, correlationId: "of pika" });
  const answer = await eventually(async () => {
    const got = await test.probe.channel.get(queue, { noAck: true });
    assert(got);
    return got;
  });
  assert.equal(answer.content.toString(), "13");
  assert.equal(answer.properties.correlationId, "of pika");
  await test.probe.channel.deleteQueue(queue);
  test.request("8", { replyTo: queue });
  const dead = await test.probe.take("rpc_queue.dlq");
  assert.equal(
    dead.properties.headers!["x-reason"],
    `Cannot publish: there is no queue '${queue}'`,
  );
  test.request("9", {});
  const none = await test.probe.take("rpc_queue.dlq");
  assert.match(none.properties.headers!["x-reason"], /names no queue for its answer/);
  test.request("10", { replyTo: "amq.rabbitmq.reply-to.made-up" });
  assert.match((await test.ask("11").ended()).stdout, /Got 89\n/);
});

Deno.test("rpc: request and answer are one trace", async () => {
  await using receiver = receiveSpans();
  await using test = await start();
  await test.server(receiver.env("server"));
  const { stdout, stderr } = await test.ask("7", receiver.env("client")).ended();
  assert.match(stdout, /Got 13/, stderr);
  const request = await eventually(() => receiver.named("publish rpc_queue"));
  await eventually(() =>
    assert.deepEqual(receiver.outline(request.traceId), [
      "client: publish rpc_queue",
      "  server: process rpc_queue",
      "    server: publish",
      "      client: process amq.rabbitmq.reply-to",
    ])
  );
  const conversation = ({ attributes }: { attributes: Record<string, unknown> }) =>
    attributes["messaging.message.conversation_id"];
  assert.equal(new Set(receiver.spans.map(conversation)).size, 1);
});
