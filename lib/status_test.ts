import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  connectProbe,
  eventually,
  layCable,
  root,
  type Running,
  startServers,
  startTool,
  unique,
} from "./testing.ts";
import { ask, isReady, metric, notReady, statusOf } from "./status_testing.ts";

/** Servers behind cables, a queue of its own, and consumers of it. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl, mongoUrl } = stack.use(await startServers());
  const cable = stack.use(layCable(amqpUrl));
  const storeCable = stack.use(layCable(mongoUrl));
  const queue = unique("status");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  const env = { AMQP_URL: cable.url, MONGO_URL: storeCable.url };
  const owned = stack.move();
  return {
    ...{ cable, storeCable, queue, probe },
    /** Starts a consumer, and resolves with the URL of its status. */
    async recv(folder: string, ...args: string[]) {
      const own = folder === "consumers/mongo" ? ["--database", "test_status"] : [];
      const all = ["--queue", queue, "--status-port", "0", ...own, ...args];
      const recv = owned.use(startTool(folder, "recv", all, env));
      return { recv, url: await statusOf(recv) };
    },
    send: (text: string) => probe.channel.sendToQueue(queue, Buffer.from(text)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function stopped(tool: Running) {
  tool.kill("SIGTERM");
  assert.equal((await tool.ended()).code, 0, tool.output.stderr);
}

Deno.test("a consumer is not ready while the broker is away, hangs, or its queue was deleted", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/echo");
  await isReady(url);
  test.cable.cut("down");
  await notReady(url, /amqp:.*; consumer of '.*': it is not subscribed/, 5000);
  test.cable.plug();
  await isReady(url);

  test.cable.freeze();
  await notReady(url, /consumer of '.*': no answer within 5 s/, 8000);
  test.cable.thaw();
  await isReady(url);

  test.send("two seconds of work..");
  await recv.seen(/Received 'two/);
  await test.probe.channel.deleteQueue(test.queue);
  await notReady(url, /consumer of '.*': it is not subscribed/, 1500);
  await isReady(url);
  test.send("after all that");
  await recv.seen(/Received 'after all that'/);
  await stopped(recv);
});

Deno.test("a consumer is not ready while its store is away or hangs, and still alive", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/mongo", "--in-hand-limit", "1");
  await isReady(url);
  test.storeCable.freeze();
  test.send("kept");
  await notReady(url, /mongodb:.*(does not answer a ping|no answer within 5 s)/, 8000);
  assert.equal(await metric(url, "event_sink_ready"), 0);
  test.storeCable.thaw();
  await isReady(url);
  test.storeCable.cut("down");
  await notReady(url, /mongodb:.*(does not answer a ping|no answer within 5 s)/, 8000);
  test.storeCable.plug();
  await isReady(url);
  const labels = `{messaging_system="rabbitmq",messaging_destination_name="${test.queue}"}`;
  await eventually(async () =>
    assert.equal(await metric(url, `event_sink_acknowledged_messages_total${labels}`), 1)
  );
  assert.equal(await metric(url, "event_sink_batch_documents_sum"), 1);
  await stopped(recv);
});

Deno.test("a message in hand for too long makes a tool unhealthy, until it is done", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/echo", "--in-hand-limit", "1");
  await isReady(url);
  test.send("three seconds...");
  await eventually(async () => {
    const { code, status, reasons } = await ask(`${url}/healthz`);
    assert.deepEqual([code, status], [503, "stuck"]);
    assert.match(reasons, /in hand for \d s, longer than 1 s/);
    assert.equal((await ask(`${url}/readyz`)).code, 503);
  }, 10_000);
  await recv.seen(/Done/);
  await isReady(url);
  assert.equal((await ask(`${url}/healthz`)).status, "alive");
  await stopped(recv);
});

Deno.test("a handler that hangs makes a tool unhealthy also when its connection has ended meanwhile", async () => {
  await using test = await setup();
  const args = ["--in-hand-limit", "1", "--work", "1000"];
  const { recv, url } = await test.recv("consumers/echo", ...args);
  await isReady(url);
  test.send("for a long time.");
  await recv.seen(/Received/);
  test.cable.cut();
  await recv.seen(/Connected/);
  await eventually(async () => assert.equal((await ask(`${url}/healthz`)).status, "stuck"), 10_000);
  assert.match((await ask(`${url}/readyz`)).reasons, /not subscribed.*in hand for/);
});

Deno.test("a consumer whose dead-letter queue is full is not ready", async () => {
  await using test = await setup();
  const dead = `${test.queue}.dlq`;
  const full = { "x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish" };
  await test.probe.channel.assertQueue(dead, { durable: true, arguments: full });
  test.probe.channel.sendToQueue(dead, Buffer.from("there is no room for another"));
  const schema = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(schema, "false");
    const { recv, url } = await test.recv("consumers/echo", "--schema", schema);
    await isReady(url);
    test.send("{}");
    await notReady(url, /the broker refuses a message \(nack\) for 1\d s/, 15_000);
    await test.probe.channel.purgeQueue(dead);
    await isReady(url);
    await stopped(recv);
  } finally {
    await Deno.remove(schema);
  }
});

Deno.test("a tool counts what becomes of its messages", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/mongo");
  await isReady(url);
  test.send("good");
  test.send(JSON.stringify("x".repeat(9_000_000))); // as text and as event more than a document may have
  const labels = `{messaging_system="rabbitmq",messaging_destination_name="${test.queue}"}`;
  const counted = (name: string) => metric(url, `${name}${labels}`);
  await eventually(async () => {
    assert.equal(await counted("messaging_client_consumed_messages_total"), 2);
    assert.equal(await counted("event_sink_acknowledged_messages_total"), 2);
    assert.equal(await counted("event_sink_dead_lettered_messages_total"), 1);
    assert.equal(await counted("messaging_process_duration_seconds_count"), 2);
    assert.equal(await counted("event_sink_in_hand_messages"), 0);
  });
  // The one that went to the dead-letter queue.
  const published = '{messaging_system="rabbitmq",messaging_destination_name=""}';
  assert.equal(await metric(url, `messaging_client_sent_messages_total${published}`), 1);
  assert.equal(await metric(url, `event_sink_confirmed_messages_total${published}`), 1);
  assert.equal(await metric(url, "event_sink_unconfirmed_messages"), 0);
  assert(await metric(url, "process_resident_memory_bytes") > 1e6);
  await stopped(recv);
});

Deno.test("--health asks the running tool, and says why it is not ready", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/echo");
  await isReady(url);
  const { port } = new URL(url);
  const health = async (...args: string[]) => {
    await using asking = startTool("consumers/echo", "recv", ["--health", ...args]);
    return await asking.ended();
  };
  const well = await health("--status-port", port);
  assert.deepEqual([well.code, well.stdout, well.stderr], [0, "ready\n", ""]);
  test.cable.cut("down");
  await notReady(url, /amqp:/, 5000);
  const ill = await health("--status-port", port);
  assert.equal(ill.code, 1);
  assert.match(ill.stderr, /^Not ready: .*amqp:.*\n$/);
  const nowhere = await health();
  assert.deepEqual([nowhere.code, nowhere.stdout], [2, ""]);
  assert.match(nowhere.stderr, /--health needs the port/);
  await stopped(recv);
  const gone = await health("--status-port", port);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /^Not ready: cannot ask http.*refused/i);
});

Deno.test("a port that is taken, or is none, ends a tool with one line", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  await using tool = startTool("consumers/echo", "recv", ["--status-port", `${port}`]);
  const { code, stderr } = await tool.ended();
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot listen on 127.0.0.1:\d+: .*Choose another --status-port\n$/);
  for (const wrong of ["65536", "x", ":1", "1.5", "-1"]) {
    await using other = startTool("consumers/echo", "recv", [], { STATUS_PORT: wrong });
    const ended = await other.ended();
    assert.equal(ended.code, 2, wrong);
    assert.match(ended.stderr, /^STATUS_PORT: expected \[HOST:\]PORT .*\n$/);
  }
});

Deno.test("the status is not for pages of others", async () => {
  await using test = await setup();
  const { recv, url } = await test.recv("consumers/echo");
  using connection = await Deno.connect({ port: Number(new URL(url).port) });
  const request = "GET /metrics HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
  await connection.write(new TextEncoder().encode(request));
  const answer = await new Response(connection.readable).text();
  assert.match(answer, /^HTTP\/1.1 421 /);
  await stopped(recv);
});

Deno.test("every tool that runs for long has --health, and a port for its status", () => {
  for (const [folder, file] of longRunningTools()) {
    const { stdout } = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-env", "--allow-ffi", "--allow-read", file, "--help"],
      cwd: root + folder,
    }).outputSync();
    const help = new TextDecoder().decode(stdout);
    assert.match(help, /--health /, `${folder}/${file}`);
    assert.match(help, /--status-port |--port /, `${folder}/${file}`);
  }
});

function longRunningTools(): [string, string][] {
  const patterns = [...Deno.readDirSync(`${root}prototypes`)].filter(({ name }) =>
    name !== "elastic-workers"
  );
  return [
    ...patterns.filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => [`prototypes/${name}`, "recv.ts"] as [string, string]),
    ...["monitor.ts", "scaler.ts", "worker.ts"].map((file) =>
      ["prototypes/elastic-workers", file] as [string, string]
    ),
    ["consumers/echo", "recv.ts"],
    ["consumers/mongo", "recv.ts"],
    ["consumers/products", "admin.ts"],
    ["consumers/products", "service.ts"],
    ...["datagen.ts", "distributor.ts", "processor.ts", "statistics.ts"].map((file) =>
      ["pipeline", file] as [string, string]
    ),
    ...["router.ts", "sub.ts", "worker.ts"].map((file) => ["reactor", file] as [string, string]),
  ];
}
