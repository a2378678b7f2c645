/**
 * Independent programs in the place of publisher, worker and monitor: Debian's python3-pika, in the manner of the classical sample. Where it is not
 * installed the tests say so and end; in CI they fail.
 */
import assert from "node:assert/strict";
import { eventually, start } from "../../lib/testing.ts";
import { setup } from "./testing/setup.ts";

const python = "/usr/bin/python3";

async function hasPika(): Promise<boolean> {
  try {
    const args = ["-c", "import pika"];
    const { success } = await new Deno.Command(python, { args, stderr: "null" }).output();
    if (success) return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (Deno.env.get("CI")) assert.fail("there is no python3-pika here");
  console.log("there is no python3-pika here: not tested");
  return false;
}

const connect = `
import sys, json, time, pika
url, app, upload, report = sys.argv[1:5]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
`;
/** Declares a queue that is not durable, and publishes without an id, a time, persistence or confirm. */
const publisher = connect + `
channel.queue_declare(queue=upload)
channel.basic_publish(exchange="", routing_key=upload, body=json.dumps({"type": "pdf", "uri": "http://a", "app_id": app}))
connection.close()
`;
/** Takes requests without acknowledgement, and reports a response time alone. */
const worker = connect + `
channel.queue_declare(queue=report, durable=True)
def callback(ch, method, properties, body):
    request = json.loads(body)
    time.sleep(0.05)
    ch.basic_publish(exchange="", routing_key=report, body=json.dumps({"response_time": 7.5, "app_id": request["app_id"]}))
channel.basic_consume(queue=upload, on_message_callback=callback, auto_ack=True)
channel.start_consuming()
`;
const monitor = connect + `
channel.queue_declare(queue=report, durable=True)
for method, properties, body in channel.consume(report, auto_ack=True):
    parsed = json.loads(body)
    print(parsed["app_id"] == app, parsed["response_time"] < 5, flush=True)
    break
connection.close()
`;

async function program(test: Awaited<ReturnType<typeof setup>>, code: string) {
  const { amqpUrl, appId, queues } = test;
  return await Promise.resolve(
    start(["-c", code, amqpUrl, appId, queues.upload, queues.report], { command: python }),
  );
}

Deno.test("pika's publisher, our worker, pika's monitor", async () => {
  if (!await hasPika()) return;
  await using test = await setup("pika");
  await using publishing = await program(test, publisher);
  assert.equal((await publishing.ended()).code, 0);
  await test.worker("--upload-time", "0");
  await using watching = await program(test, monitor);
  const { stdout, stderr } = await watching.ended();
  assert.equal(stdout, "True True\n", stderr);
});

Deno.test("our publisher, pika's worker, our monitor", async () => {
  if (!await hasPika()) return;
  await using test = await setup("pikaworker");
  const file = `${test.directory}/input.json`;
  await Deno.writeTextFile(file, `[{"type":"pdf","uri":"http://a"}]`);
  const args = ["--input_data", file, "--count", "100", "--interval", "0"];
  assert.equal((await test.start("publisher", ...args).ended()).code, 0);
  const monitoring = test.start("monitor", "--port", "0");
  const [, url] = await monitoring.seen(/The page is at (\S+)/);
  await using _working = await program(test, worker);
  await eventually(async () => {
    const state = await (await fetch(`${url}/api/apps/${test.appId}`)).json();
    assert.deepEqual([state.workers, state.backlog, state.response_time_p95], [1, 0, 7.5]);
    assert(state.arrival_rate > 0);
  });
});
