/** Clients that are not ours, as a user has them installed; where one is missing its test says so and ends, in CI it fails. */
import assert from "node:assert/strict";
import { startBroker } from "./mod.ts";

async function run(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assert.ok(success, `${command}: ${decode(stderr)}`);
    return decode(stdout);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function missing(command: string, ...args: string[]): Promise<boolean> {
  const found = await run(command, ...args).catch(() => undefined);
  if (found === undefined && Deno.env.get("CI")) assert.fail(`${command} does not work here`);
  if (found === undefined) console.log(`${command} ${args.join(" ")} does not work here: skipped`);
  return found === undefined;
}

Deno.test("amqp-tools declare, publish, get, consume and delete", async () => {
  if (await missing("amqp-publish", "--help")) return;
  await using broker = await startBroker({ port: 0 });
  const url = `--url=${broker.url}`;
  assert.equal((await run("amqp-declare-queue", url, "-d", "-q", "tools"))?.trim(), "tools");
  await run("amqp-publish", url, "-r", "tools", "-p", "-C", "text/plain", "-b", "one");
  await run("amqp-publish", url, "-r", "tools", "-b", "two");
  assert.equal(await run("amqp-get", url, "-q", "tools"), "one");
  assert.equal(await run("amqp-consume", url, "-q", "tools", "-c", "1", "cat"), "two");
  assert.equal((await run("amqp-delete-queue", url, "-q", "tools"))?.trim(), "0");
});

const pika = `
import sys, pika
from pika.exceptions import *
c = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
ch = c.channel()
ch.exchange_declare("x", "topic", durable=True)
ch.queue_declare("q", durable=True, arguments={"x-max-priority": 3})
ch.queue_bind("q", "x", "a.#")
ch.confirm_delivery()
headers = {"n": 1, "list": [1, "two", {"three": True}], "none": None, "big": 2**40}
for i in range(100):
    ch.basic_publish("x", "a.b", b"m%d" % i, pika.BasicProperties(delivery_mode=2, priority=i % 3, headers=headers), mandatory=True)
try:
    ch.basic_publish("x", "b", b"lost", mandatory=True)
    print("not returned")
except UnroutableError as e:
    print("returned", e.messages[0].body.decode(), e.messages[0].method.reply_code)
ch.basic_qos(prefetch_count=7)
seen = []
for method, properties, body in ch.consume("q", inactivity_timeout=2):
    assert properties.headers == headers, properties.headers
    seen.append(int(body[1:]))
    if len(seen) == 50: ch.basic_nack(method.delivery_tag, requeue=True)
    else: ch.basic_ack(method.delivery_tag)
    if len(seen) == 101: break
ch.cancel()
print(seen[:3], len(seen), len(set(seen)))
tx = c.channel()
tx.tx_select()
tx.basic_publish("", "q", b"in tx")
tx.tx_rollback()
tx.basic_publish("", "q", b"kept")
tx.tx_commit()
print(tx.queue_declare("q", passive=True).method.message_count)
try:
    tx.queue_declare("q", durable=False)
except ChannelClosedByBroker as e:
    print(e.reply_code, e.reply_text)
ch.queue_delete("q")
ch.exchange_delete("x")
c.close()
try:
    pika.BlockingConnection(pika.URLParameters(sys.argv[1].replace("guest:guest", "guest:wrong")))
except ProbableAuthenticationError as e:
    print("auth", e)
`;

Deno.test("pika publishes, returns, consumes, requeues, commits and is refused", async () => {
  if (await missing("/usr/bin/python3", "-c", "import pika")) return;
  await using broker = await startBroker({ port: 0 });
  const output = await run("/usr/bin/python3", "-c", pika, broker.url);
  assert.deepEqual(output?.trim().split("\n"), [
    "returned lost 312",
    "[2, 5, 8] 101 100",
    "1",
    "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
    `auth ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'`,
  ]);
});
