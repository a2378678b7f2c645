/**
 * Our tools and independent clients, exchanging messages through the broker under test: Debian's python3-pika and amqp-tools. Where
 * one is not installed its tests say so and end; in CI they fail.
 */
import assert from "node:assert/strict";
import {
  connectProbe,
  eventually,
  start,
  startServers,
  startTool,
  unique,
} from "../lib/testing.ts";

/** Debian's own Python, which sees Debian's packages whatever other Python a machine has. */
const python = "/usr/bin/python3";

async function installed(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, { args, stdout: "null", stderr: "null" })
      .output();
    if (success) return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (Deno.env.get("CI")) assert.fail(`'${command} ${args.join(" ")}' does not work here`);
  console.log(`'${command} ${args.join(" ")}' does not work here: not tested`);
  return false;
}

async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl, mongoUrl } = stack.use(await startServers());
  const queue = unique("interop");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  const owned = stack.move();
  return {
    amqpUrl,
    queue,
    probe,
    tool: (folder: string, task: string, ...args: string[]) =>
      owned.use(startTool(folder, task, args, { AMQP_URL: amqpUrl, MONGO_URL: mongoUrl })),
    /** Runs an independent client to its end. */
    async client(command: string, ...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await owned.use(start(args, { command })).ended();
      assert.equal(code, 0, stderr);
      return stdout;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const publish = `
import sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish(sys.argv[2], "", sys.argv[3].encode(), mandatory=True,
  properties=pika.BasicProperties(delivery_mode=2, content_type="application/json"))
connection.close()
`;

const consume = `
import sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(sys.argv[2], durable=True)
channel.exchange_declare("clowder.metrics", "fanout", durable=True)
channel.queue_bind(sys.argv[2], "clowder.metrics")
print("bound", flush=True)
for method, properties, body in channel.consume(sys.argv[2]):
    channel.basic_ack(method.delivery_tag)
    if body.decode() == sys.argv[3]: break
print(properties.delivery_mode, bool(properties.message_id), bool(properties.timestamp), properties.content_type)
connection.close()
`;

Deno.test("recv shows what pika publishes to the event exchange", async () => {
  if (!await installed(python, "-c", "import pika")) return;
  await using test = await setup();
  const recv = test.tool("consumers/echo", "recv", "--queue", test.queue);
  await recv.seen(/Waiting for messages/);
  const text = `from pika ${test.queue}`;
  await test.client(python, "-c", publish, test.amqpUrl, "clowder.metrics", text);
  await recv.seen(new RegExp(` \\[x\\] Received '${text}'\n`));
});

Deno.test("pika gets what send publishes, persistent, with a message id and a timestamp", async () => {
  if (!await installed(python, "-c", "import pika")) return;
  await using test = await setup();
  const text = `{"from": "send ${test.queue}"}`;
  await using pika = start(["-c", consume, test.amqpUrl, test.queue, text], { command: python });
  await pika.seen(/bound/);
  const sent = await test.tool("consumers/echo", "send", text).ended();
  assert.equal(sent.code, 0, sent.stderr);
  const { code, stdout, stderr } = await pika.ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^2 True True application\/json$/m);
});

Deno.test("amqp-publish and amqp-consume exchange messages with send-recv", async () => {
  if (!await installed("amqp-publish", "--help")) return;
  await using test = await setup();
  const url = `--url=${test.amqpUrl}`;
  const recv = test.tool("prototypes/send-recv", "recv");
  await recv.seen(/Waiting for messages/);
  const text = `from amqp-publish ${test.queue}`;
  await test.client("amqp-publish", url, "-r", "hello", "-p", "-b", text);
  await recv.seen(new RegExp(` \\[x\\] Received '${text}'\n`));

  // amqp-declare-queue -d: the queue as the echo consumer declares it, filled by our send, emptied by amqp-consume.
  await test.client("amqp-declare-queue", url, "-d", "-q", test.queue);
  const echo = test.tool("consumers/echo", "recv", "--queue", test.queue);
  await echo.seen(/Waiting for messages/);
  echo.kill("SIGTERM");
  await echo.ended();
  const event = `from send ${test.queue}`;
  assert.equal((await test.tool("consumers/echo", "send", event).ended()).code, 0);
  await eventually(async () => {
    const consumed = await test.client("amqp-consume", url, "-q", test.queue, "-c", "1", "cat");
    assert.equal(consumed, event); // other tests publish to the same exchange
  });
});

/** Publishes a bad message with the headers that stand there in Python. */
const withHeaders = `
import sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish("", sys.argv[2], b"\\xff", mandatory=True, properties=pika.BasicProperties(
  delivery_mode=2, message_id="long", headers={"padding": eval(sys.argv[3])}))
connection.close()
`;

const unwritable = {
  "longer than amqplib can write": ["'x' * 100000", "are too long to be passed on"],
  "a table that amqplib takes for a type": ["{'!': 'boom'}", "cannot be passed on"],
};
for (const [name, [headers, reason]] of Object.entries(unwritable)) {
  Deno.test(`a bad message of pika is dead-lettered without its headers: ${name}`, async () => {
    if (!await installed(python, "-c", "import pika")) return;
    await using test = await setup();
    const recv = test.tool("consumers/mongo", "recv", "--queue", test.queue);
    await recv.seen(/Waiting for messages/);
    await test.client(python, "-c", withHeaders, test.amqpUrl, test.queue, headers!);
    const { properties } = await test.probe.take(`${test.queue}.dlq`);
    assert.equal(properties.messageId, "long");
    assert.equal(properties.headers?.padding, undefined);
    assert.equal(
      properties.headers?.["x-reason"],
      `the body is not UTF-8 text (its headers ${reason})`,
    );
    recv.kill("SIGINT");
    assert.equal((await recv.ended()).code, 0);
  });
}

const deepHeaders = `
import sys, struct, pika, pika.data
encoded = b"V"
for _ in range(20000): encoded = b"A" + struct.pack(">I", len(encoded)) + encoded
plain = pika.data.encode_value
def encode(pieces, value):
  if value != "deep": return plain(pieces, value)
  pieces.append(encoded)
  return len(encoded)
pika.data.encode_value = encode
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
for id, body, headers in [("deep", b"deep", {"header": "deep"}), ("after", b"after", {})]:
  channel.basic_publish("", sys.argv[2], body, mandatory=True, properties=pika.BasicProperties(
    content_type="text/plain", delivery_mode=2, message_id=id, headers=headers))
connection.close()
`;

Deno.test("a message whose headers are nested more deeply than amqplib can read is dead-lettered, and holds up no other", async () => {
  if (!Deno.env.get("AMQP_URL")) return; // the embedded broker refuses it
  if (!await installed(python, "-c", "import pika")) return;
  await using test = await setup();
  const recv = test.tool("consumers/echo", "recv", "--queue", test.queue);
  await recv.seen(/Waiting for messages/);
  await test.client(python, "-c", deepHeaders, test.amqpUrl, test.queue);
  await recv.seen(/Received 'after'/);
  const { content, properties } = await test.probe.take(`${test.queue}.dlq`);
  assert.equal(content.toString(), "deep");
  assert.deepEqual([properties.messageId, properties.contentType], ["deep", "text/plain"]);
  assert.equal(
    properties.headers?.["x-reason"],
    "its headers are nested too deeply to be read",
  );
  recv.kill("SIGINT");
  const { code, stderr } = await recv.ended();
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /Lost the connection/);
});
