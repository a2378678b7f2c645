import assert from "node:assert/strict";
import { pause } from "@event-sink/lib";
import { eventually } from "../../lib/testing.ts";
import { receiveSpans } from "../../lib/trace_testing.ts";
import { setup } from "./testing/setup.ts";
import { parseUploadTimes } from "./worker/simulation.ts";
import { readStateFile } from "./worker/state_file.ts";

const request = { type: "pdf", uri: "http://example.org/a.pdf" };

Deno.test("worker uploads and reports: what a requester waited, from publishing to the end", async () => {
  await using test = await setup("worker");
  const worker = await test.worker("--upload-time", "0.1-0.2", "--name", "w1");
  const headers = { published_ms: Date.now() - 5000 };
  test.send(test.queues.upload, request, { messageId: "m1", headers });
  const { id, report, contentType } = await test.report();
  assert.equal(id, "m1");
  assert.equal(contentType, "application/json");
  const { response_time, queue_time, upload_time, ...rest } = report;
  assert.deepEqual(rest, { app_id: test.appId, worker: "w1" });
  assert(upload_time! >= 0.1 && upload_time! < 5, `${upload_time}`);
  assert(queue_time! >= 5 && queue_time! < 15, `${queue_time}`);
  assert(Math.abs(response_time - queue_time! - upload_time!) < 0.1);
  await worker.seen(/ \[x\] Uploading 'http:\/\/example\.org\/a\.pdf'\n \[x\] Done in /);
  worker.kill("SIGTERM");
  assert.equal((await worker.ended()).code, 0);
  await test.counts(test.queues.upload, 0);
});

Deno.test("worker uses the classical programs' queue, which is not durable, and counts their requests from arrival", async () => {
  await using test = await setup("classical");
  await test.probe.channel.assertQueue(test.queues.upload, { durable: false });
  const worker = await test.worker("--upload_queuename", test.queues.upload, "--upload-time=0");
  await worker.seen(/_upload' is used as it is: not durable/);
  test.send(test.queues.upload, { ...request, app_id: test.appId }, { persistent: false });
  const { id, report } = await test.report();
  assert(id);
  assert.equal(report.queue_time, 0);
  assert(report.response_time < 5);
});

Deno.test("worker counts from arrival, and says so, when a request was published in the future", async () => {
  await using test = await setup("future");
  const worker = await test.worker("--upload-time", "0");
  const headers = { published_ms: Date.now() + 3_600_000 };
  test.send(test.queues.upload, request, { headers });
  const { report } = await test.report();
  assert(report.response_time < 5);
  await worker.seen(/published 3\d{3}(\.\d+)? s in the future: the clocks disagree/);
});

Deno.test("worker dead-letters what is no request, with the reason, and goes on", async () => {
  await using test = await setup("badrequest");
  await test.worker("--upload-time", "0");
  const bad: [unknown, RegExp][] = [
    ["nonsense", /it is not JSON/],
    [[request], /uri/],
    [{ type: "pdf" }, /uri: /],
    [{ type: 7, uri: "x" }, /type: /],
  ];
  for (const [body, reason] of bad) {
    test.send(test.queues.upload, body);
    const { properties } = await test.probe.take(`${test.queues.upload}.dlq`);
    assert.match(properties.headers!["x-reason"], reason);
  }
  test.send(test.queues.upload, request, { messageId: "good" });
  assert.equal((await test.report()).id, "good");
});

Deno.test("worker finishes its upload after SIGTERM, takes no other, and exits with 0", async () => {
  await using test = await setup("sigterm");
  const worker = await test.worker("--upload-time", "1");
  for (const messageId of ["first", "second"]) {
    test.send(test.queues.upload, request, { messageId });
  }
  await worker.seen(/Uploading/);
  worker.kill("SIGTERM");
  const { code, stdout, stderr } = await worker.ended();
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/ \[x\] Done/g)?.length, 1);
  assert.equal((await test.report()).id, "first");
  await test.counts(test.queues.upload, 1);
});

Deno.test("worker that does not finish within --stop-limit ends with 1, and its upload is for another", async () => {
  await using test = await setup("limit");
  const worker = await test.worker("--upload-time", "60", "--stop-limit", "0.2");
  test.send(test.queues.upload, request, { messageId: "long" });
  await worker.seen(/Uploading/);
  worker.kill("SIGTERM");
  const { code, stderr } = await worker.ended();
  assert.equal(code, 1);
  assert.match(stderr, /Cannot stop within 0\.2 s: still working on 1 messages? of/);
  await test.worker("--upload-time", "0");
  assert.equal((await test.report()).id, "long");
});

Deno.test("the upload of a killed worker is done by another", async () => {
  await using test = await setup("killed");
  const worker = await test.worker("--upload-time", "60");
  test.send(test.queues.upload, request, { messageId: "interrupted" });
  await worker.seen(/Uploading/);
  worker.kill("SIGKILL");
  await worker.ended();
  await test.worker("--upload-time", "0", "--name", "heir");
  const { id, report } = await test.report();
  assert.deepEqual([id, report.worker], ["interrupted", "heir"]);
});

Deno.test("worker that cannot report after it was stopped, as the broker is away, ends all the same: another does the upload", async () => {
  for (const how of ["SIGTERM", "stdin"] as const) {
    await using test = await setup("away");
    const worker = await test.worker("--upload-time", "1", "--until-stdin-ends");
    test.send(test.queues.upload, request, { messageId: "left" });
    await worker.seen(/Uploading/);
    test.cable.cut("down");
    if (how === "stdin") await worker.input("");
    else worker.kill(how);
    const ended = await Promise.race([worker.ended(), pause(8000)]);
    assert(ended, `it lives on after ${how}`);
    test.cable.plug();
    await test.worker("--upload-time", "0");
    assert.equal((await test.report()).id, "left");
  }
});

Deno.test("worker keeps its state in a file, and stops when that is removed or standard input ends", async () => {
  await using test = await setup("state");
  const stateFile = `${test.directory}/worker`;
  const worker = await test.worker("--upload-time", "1", "--state-file", stateFile);
  assert.equal(await readStateFile(stateFile), "idle");
  test.send(test.queues.upload, request);
  await eventually(async () => assert.equal(await readStateFile(stateFile), "busy"));
  const second = await test.start("worker", "--state-file", stateFile).ended();
  assert.equal(second.code, 1);
  assert.match(second.stderr, /belongs to another worker/);
  await Deno.remove(stateFile);
  const { code, stdout } = await worker.ended();
  assert.deepEqual([code, /Done/.test(stdout)], [0, true]);

  const child = await test.worker("--until-stdin-ends", "--state-file", stateFile);
  await child.input("");
  assert.equal((await child.ended()).code, 0);
  assert.equal(await readStateFile(stateFile), undefined);
});

Deno.test("--upload-time is read for all types and for each", () => {
  assert.deepEqual([...parseUploadTimes("video=2-20,pdf=1, 5-10")], [
    ["video", { min: 2, max: 20 }],
    ["pdf", { min: 1, max: 1 }],
    ["", { min: 5, max: 10 }],
  ]);
  for (const wrong of ["", "5-1", "-1", "a", "pdf=", "1-9999", "1e3"]) {
    assert.throws(() => parseUploadTimes(wrong), RangeError);
  }
});

Deno.test("from a request to its report, as the monitor takes it, is one trace", async () => {
  await using receiver = receiveSpans();
  await using test = await setup("trace");
  const { upload, report, started } = test.queues;
  const monitor = test.start("monitor", "--port", "0", receiver.env("monitor"));
  await monitor.seen(/Waiting for reports/);
  await test.worker("--upload-time", "0", receiver.env("worker"));
  const file = `${test.directory}/requests.json`;
  await Deno.writeTextFile(file, JSON.stringify([request]));
  const args = ["--input-data", file, "--interval", "0"];
  const publisher = await test.start("publisher", ...args, receiver.env("publisher")).ended();
  assert.equal(publisher.code, 0, publisher.stderr);
  await eventually(() => {
    const { traceId } = receiver.named(`publish ${upload}`);
    const lines = receiver.outline(traceId);
    assert.deepEqual(lines.filter((line) => !line.endsWith(started)), [
      `publisher: publish ${upload}`,
      `  worker: process ${upload}`,
      "    worker: upload",
      `    worker: publish ${report}`,
      `      monitor: process ${report}`,
    ]);
  });
});

Deno.test("without tracing a request's trace is handed on to its report", async () => {
  await using test = await setup("handed");
  await test.worker("--upload-time", "0");
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  test.send(test.queues.upload, request, { headers: { traceparent } });
  const { properties } = await test.probe.take(test.queues.report);
  assert.equal(properties.headers!.traceparent, traceparent);
});
