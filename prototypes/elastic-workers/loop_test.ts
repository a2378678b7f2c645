/**
 * The whole loop as real processes: requests, workers, monitor, scaler; and what becomes of it when one of them dies.
 */
import assert from "node:assert/strict";
import { connectProbe, eventually } from "../../lib/testing.ts";
import { type ScaleRequest } from "./message.ts";
import { setup } from "./testing/setup.ts";
import { readStateFile } from "./worker/state_file.ts";

const request = { type: "pdf", uri: "http://example.org/a.pdf" };
/** Times are short: decisions ten times a second, windows of two seconds. */
const fast = ["--objective", "2", "--window", "2", "--short-window", "1", "--cooldown", "2"]
  .concat("--interval", "0.1");

/** The workers that live, by their state files. */
async function alive(directory: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    if (await readStateFile(`${directory}/${name}`)) names.push(name);
  }
  return names.sort();
}

Deno.test("monitor asks for workers as the backlog grows, serves its wish, and dead-letters bad reports", async () => {
  await using test = await setup("monitor");
  await test.probe.channel.assertQueue(test.queues.upload, { durable: true });
  const monitor = test.start(
    "monitor",
    "--port",
    "0",
    "--app-id",
    test.appId,
    "--max",
    "6",
    ...fast,
  );
  const [, url] = await monitor.seen(/The page is at (\S+)/);
  const state = async () => await (await fetch(`${url}/api/apps/${test.appId}`)).json();
  await monitor.seen(/Waiting for reports/);
  await eventually(async () => assert.equal((await state()).workers_wanted, 1));
  for (let number = 0; number < 50; number++) test.send(test.queues.upload, request);
  await eventually(async () => {
    const { workers_wanted, workers, backlog, waiting, objective } = await state();
    assert.deepEqual(
      { workers_wanted, workers, backlog, waiting, objective },
      { workers_wanted: 6, workers: 0, backlog: 50, waiting: 50, objective: 2 },
    );
  });
  await monitor.seen(
    / \[x\] test\.monitor\S+: \d workers, not \d: 50 waiting take 0 workers for ever/,
  );
  await eventually(async () => {
    const asked: ScaleRequest = JSON.parse(
      (await test.probe.take(test.queues.scale)).content.toString(),
    );
    assert.deepEqual([asked.app_id, asked.workers], [test.appId, 6]);
  });

  const bad: [unknown, RegExp][] = [
    ["", /not JSON/],
    [{ response_time: 3 }, /app_id/],
    [{ app_id: "a/b", response_time: 3 }, /the name of an app/],
    [{ app_id: test.appId, response_time: -1 }, /response_time/],
    [{ app_id: test.appId, response_time: 1e12 }, /response_time/],
    [{ app_id: test.appId, response_time: "3" }, /response_time/],
  ];
  for (const [body, reason] of bad) {
    test.send(test.queues.report, body);
    const { properties } = await test.probe.take(`${test.queues.report}.dlq`);
    assert.match(properties.headers!["x-reason"], reason);
  }
  test.send(test.queues.report, { app_id: `${test.appId}.other`, response_time: 3 });
  await eventually(async () => {
    const answer = await fetch(`${url}/api/apps/${test.appId}.other`);
    assert.equal((await answer.json()).reason, "its upload queue is not there yet");
  });
  // Nobody knows it: it is forgotten.
  await eventually(async () => {
    const answer = await fetch(`${url}/api/apps/${test.appId}.other`);
    await answer.body?.cancel();
    assert.equal(answer.status, 404);
  });
  assert.equal((await (await fetch(`${url}/readyz`)).json()).status, "ready");
  assert.match(
    await (await fetch(`${url}/metrics`)).text(),
    /elastic_workers_wanted\{app_id=".*"\} 6\n/,
  );
  monitor.kill("SIGTERM");
  assert.equal((await monitor.ended()).code, 0);
});

Deno.test("monitor says when another one takes reports from its queue", async () => {
  await using test = await setup("two");
  const first = test.start("monitor", ...fast);
  await first.seen(/Waiting for reports/);
  const second = test.start("monitor", ...fast);
  const warning = /2 programs take reports from 'test\.two\S+': each monitor sees only a part/;
  for (const monitor of [first, second]) await monitor.seen(warning);
});

Deno.test("monitor refuses --min above --max", async () => {
  await using test = await setup("minmax");
  const { code, stderr } = await test.start("monitor", "--min", "5", "--max", "2").ended();
  assert.deepEqual([code, /--min 5 is above --max 2/.test(stderr)], [2, true]);
});

Deno.test("scaler starts workers, stops an idle one first, lets a busy one finish, and its workers end with it", async () => {
  await using test = await setup("scaler");
  const { directory, queues, appId } = test;
  const scaler = test.start("scaler", "--state-directory", directory, "--", "--upload-time", "2");
  await scaler.seen(/Waiting for scale requests/);
  test.send(queues.scale, { app_id: appId, workers: 2, reason: "a test" });
  await scaler.seen(/: 0 to 2 workers: a test/);
  await eventually(async () => assert.equal((await alive(directory)).length, 2));
  await test.counts(queues.upload, 0);
  test.send(queues.upload, request, { messageId: "slow" });
  const busy = await eventually(async () => {
    for (const name of await alive(directory)) {
      if (await readStateFile(`${directory}/${name}`) === "busy") return name;
    }
    throw new Error("none is busy");
  });
  test.send(queues.scale, { app_id: appId, workers: 1 });
  await eventually(async () => assert.deepEqual(await alive(directory), [busy]));
  assert.equal((await test.report()).id, "slow");
  for (
    const [body, reason] of [
      [{ workers: 3 }, /app_id/],
      [{ app_id: appId, workers: -1 }, /workers/],
      [{ app_id: appId, workers: 1.5 }, /workers/],
      [{ app_id: "../x", workers: 1 }, /app_id/],
    ] as const
  ) {
    test.send(queues.scale, body);
    const { properties } = await test.probe.take(`${queues.scale}.dlq`);
    assert.match(properties.headers!["x-reason"], reason);
  }
  test.send(queues.scale, { app_id: appId, workers: 0 });
  await eventually(async () => assert.deepEqual(await alive(directory), []));
  test.send(queues.scale, { app_id: appId, workers: 1 });
  await eventually(async () => assert.equal((await alive(directory)).length, 1));
  scaler.kill("SIGKILL");
  await eventually(async () => assert.deepEqual(await alive(directory), []));
});

Deno.test("scaler's workers declare queues of its --queue-type", async () => {
  await using test = await setup("types");
  const flags = ["--queue-type", "quorum", "--state-directory", test.directory];
  const scaler = test.start("scaler", ...flags);
  await scaler.seen(/Waiting for scale requests/);
  test.send(test.queues.scale, { app_id: test.appId, workers: 1 });
  await eventually(async () => {
    const channel = await test.probe.model.createChannel();
    channel.on("error", () => {}); // 404 until a worker has declared it
    const { consumerCount } = await channel.checkQueue(test.queues.upload);
    await channel.close();
    assert.equal(consumerCount, 1);
  });
  const options = { durable: true, arguments: { "x-queue-type": "quorum" } };
  await test.probe.channel.assertQueue(test.queues.upload, options); // 406 for another type
  scaler.kill("SIGTERM");
  assert.equal((await scaler.ended()).code, 0);
});

Deno.test("scaler says when another one takes scale requests from its queue", async () => {
  await using test = await setup("scalers");
  const first = test.start("scaler", "--state-directory", test.directory);
  await first.seen(/Waiting for scale requests/);
  const second = test.start("scaler", "--state-directory", test.directory);
  await second.seen(/Another program takes scale requests from 'test\.scalers/);
  assert.doesNotMatch(first.output.stderr, /Another program/);
});

Deno.test("scaler starts no million workers", async () => {
  await using test = await setup("million");
  const { directory, queues, appId } = test;
  const scaler = test.start("scaler", "--state-directory", directory, "--most", "2");
  await scaler.seen(/Waiting for scale requests/);
  test.send(queues.scale, { app_id: appId, workers: 1_000_000 });
  await scaler.seen(/asks for 1000000 workers; --most allows 2/);
  await eventually(async () => assert.equal((await alive(directory)).length, 2));
  scaler.kill("SIGTERM");
  assert.equal((await scaler.ended()).code, 0);
  assert.deepEqual(await alive(directory), []);
});

Deno.test("scaler tries ever less often to start workers that end at once, and says so", async () => {
  await using test = await setup("crash");
  const { directory, queues, appId } = test;
  const scaler = test.start("scaler", "--state-directory", directory, "--", "--no-such-flag");
  await scaler.seen(/Waiting for scale requests/);
  test.send(queues.scale, { app_id: appId, workers: 2 });
  await scaler.seen(/unknown option '--no-such-flag'/);
  await scaler.seen(
    /2 workers of test\.crash\S+ ended soon after the start\. Trying again in [12] s/,
  );
  await scaler.seen(
    /2 workers of test\.crash\S+ ended soon after the start\. Trying again in [3-9] s/,
  );
});

Deno.test("a scaler that dies and returns finds its workers again and starts no double", async () => {
  await using test = await setup("again");
  const { directory, queues, appId } = test;
  const args = ["--state-directory", directory, "--keep-workers"];
  const first = test.start("scaler", ...args);
  await first.seen(/Waiting for scale requests/);
  test.send(queues.scale, { app_id: appId, workers: 2 });
  await eventually(() => assert.equal([...Deno.readDirSync(directory)].length, 2));
  await test.counts(queues.scale, 0);
  first.kill("SIGKILL"); // while they start
  await first.ended();
  const second = test.start("scaler", ...args);
  test.send(queues.scale, { app_id: appId, workers: 3 });
  await second.seen(/: 2 to 3 workers/);
  await eventually(async () => assert.equal((await alive(directory)).length, 3));
  second.kill("SIGTERM");
  assert.equal((await second.ended()).code, 0);
  assert.equal((await alive(directory)).length, 3);
  const third = test.start("scaler", ...args);
  test.send(queues.scale, { app_id: appId, workers: 0 });
  await third.seen(/: 3 to 0 workers/);
  await eventually(async () => assert.deepEqual(await alive(directory), []));
});

Deno.test("500 uploads: worker, scaler and monitor killed in the middle, each is done, and its report counts once", async () => {
  await using test = await setup("killing");
  const { directory, queues, appId, probe } = test;
  // The workers report to us, and we pass it on to the monitor.
  const reports = `${appId}_raw`;
  await using _cleanup = await connectProbe(test.amqpUrl, { queues: [reports] });
  await probe.channel.assertQueue(reports, { durable: true });
  await probe.channel.assertQueue(queues.report, { durable: true });
  await probe.channel.assertQueue(queues.upload, { durable: true });
  const done = new Map<string, number>();
  await probe.channel.consume(reports, (message) => {
    if (!message) return; // the queue is deleted
    const { content, properties } = message;
    const id: string = properties.messageId;
    done.set(id, (done.get(id) ?? 0) + 1);
    probe.channel.sendToQueue(queues.report, content, { messageId: id });
  }, { noAck: true });
  const reached = (count: number) =>
    eventually(() => assert(done.size >= count, `${done.size} of ${count}`), 60_000);

  const startMonitor = () => test.start("monitor", "--app-id", appId, "--max", "4", ...fast);
  const workerArgs = ["--report-queuename", reports, "--upload-time", "0.02-0.1"];
  const startScaler = () =>
    test.start("scaler", "--state-directory", directory, "--", ...workerArgs);
  const ids = Array.from({ length: 500 }, (_, number) => `upload-${number}`);
  for (const messageId of ids) test.send(queues.upload, request, { messageId });
  let [monitor, scaler] = [startMonitor(), startScaler()];

  await reached(50);
  const worker = await test.worker("--report-queuename", reports, "--upload-time", "5");
  await worker.seen(/Uploading/);
  worker.kill("SIGKILL");
  await reached(100);
  scaler.kill("SIGKILL");
  await scaler.ended();
  scaler = startScaler();
  await reached(200);
  monitor.kill("SIGKILL");
  await monitor.ended();
  monitor = startMonitor();
  await reached(500);
  assert.deepEqual([...done.keys()].sort(), ids.sort());
  await test.counts(queues.upload, 0);
  for (const tool of [scaler, monitor]) {
    tool.kill("SIGTERM");
    assert.equal((await tool.ended()).code, 0);
  }
  assert.deepEqual(await alive(directory), []);
  await test.counts(`${queues.upload}.dlq`, 0);
});

Deno.test("the broker goes away in the middle of the uploads and comes back: each is done, and nobody is taken away meanwhile", async () => {
  await using test = await setup("outage");
  const { directory, queues, appId, cable } = test;
  await test.probe.channel.assertQueue(queues.upload, { durable: true });
  const ids = Array.from({ length: 60 }, (_, number) => `upload-${number}`);
  for (const messageId of ids) test.send(queues.upload, request, { messageId });
  const monitor = test.start("monitor", "--port", "0", "--app-id", appId, "--max", "4", ...fast);
  const [, url] = await monitor.seen(/The page is at (\S+)/);
  const scaler = test.start("scaler", "--state-directory", directory, "--", "--upload-time", "0.3");
  const state = async () => await (await fetch(`${url}/api/apps/${appId}`)).json();
  await eventually(async () => assert.equal((await state()).workers, 4));
  const before = await alive(directory);
  cable.cut("down");
  await monitor.seen(/Lost the connection/);
  await scaler.seen(/scaler: Lost the connection/);
  assert.equal((await state()).workers_wanted, 4); // what KEDA reads meanwhile
  cable.plug();
  await eventually(async () => assert.equal((await state()).workers, 4), 60_000);
  assert.deepEqual(await alive(directory), before);
  await eventually(async () => assert.equal((await alive(directory)).length, 1), 60_000);
  await test.counts(queues.upload, 0);
  for (const tool of [scaler, monitor]) {
    tool.kill("SIGTERM");
    assert.equal((await tool.ended()).code, 0);
  }
  await test.counts(`${queues.upload}.dlq`, 0);
});
