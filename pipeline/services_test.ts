import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { isReady, metric, notReady } from "../lib/status_testing.ts";
import { eventually, startTool } from "../lib/testing.ts";
import type { PipelineObject } from "./event.ts";
import { instant, type Service, setup } from "./testing/services.ts";

const done = (objects: number) => ({
  objects,
  tasks: {
    created: 3 * objects,
    waiting: 0,
    started: 3 * objects,
    inProgress: 0,
    finished: 3 * objects,
    failed: 0,
  },
});

Deno.test("an object goes through all four services, started in any order, and stats.db shows it", async () => {
  await using test = await setup();
  await test.start("statistics");
  await test.start("processor", instant);
  await test.start("datagen");
  const [object] = await test.post("", JSON.stringify({ some: "content" }));
  assert.deepEqual(object!.content, { some: "content" });
  await test.start("distributor");
  await eventually(async () => {
    const { objects, tasks } = await test.statistics();
    assert.deepEqual({ objects, tasks }, done(1));
  });
  using database = new DatabaseSync(`${test.directory}/stats.db`);
  const rows = database.prepare("SELECT * FROM statistics").all();
  assert.deepEqual(rows.slice(0, 6).map(({ name, value }) => [name, value]), [
    ["objects", 1],
    ["tasks created", 3],
    ["tasks started", 3],
    ["tasks finished", 3],
    ["tasks failed", 0],
    ["tasks in progress", 0],
  ]);
  const metrics = await (await fetch(`${test.url("statistics")}/metrics`)).text();
  assert.match(metrics, /^pipeline_tasks_finished_total 3$/m);
});

Deno.test("every service waits for the broker, and what was posted meanwhile is not lost", async () => {
  await using test = await setup();
  test.cable.cut("down");
  await test.start("datagen");
  const others = [
    await test.start("distributor"),
    await test.start("processor", instant),
    await test.start("statistics"),
  ];
  for (const service of others) await service.seen(/Waiting for the broker/);
  await test.post("?count=20");
  const health = await (await fetch(`${test.url("datagen")}/health`)).json();
  assert.equal(health.unpublished, 20);
  for (const service of ["datagen", "statistics"] as const) {
    await notReady(test.url(service), /amqp:.* not connected yet/, 2000);
  }
  assert.equal(await metric(test.url("datagen"), "event_sink_outbox_messages"), 20);
  test.cable.plug();
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 60));
  for (const service of ["datagen", "statistics"] as const) await isReady(test.url(service));
  assert.equal(await metric(test.url("datagen"), "event_sink_outbox_messages"), 0);
});

Deno.test("kill -9 of each service and a broker that goes away in the middle of 1,000 objects: all is counted once", async () => {
  await using test = await setup();
  const services = {
    datagen: await test.start("datagen"),
    distributor: await test.start("distributor"),
    processor: await test.start("processor", instant),
    statistics: await test.start("statistics"),
  };
  await test.post("?count=1000");
  async function restart(service: Service) {
    services[service].kill("SIGKILL");
    await services[service].ended();
    services[service] = await test.start(service, service === "processor" ? instant : []);
  }
  const reached = (finished: number) =>
    eventually(async () => assert((await test.statistics()).tasks.finished >= finished));
  // Its outbox is hardly begun.
  await restart("datagen");
  await reached(100);
  await restart("distributor");
  await reached(400);
  await restart("processor");
  await reached(700);
  await restart("statistics");
  await reached(1000);
  test.cable.cut("down");
  // The one that was just restarted may not have been connected yet.
  for (const service of Object.values(services)) {
    await service.seen(/Reconnecting|Waiting for the broker/);
  }
  test.cable.plug();
  await eventually(async () => {
    const { objects, tasks } = await test.statistics();
    assert.deepEqual({ objects, tasks }, done(1000));
  }, 60_000);
  for (const queue of ["distributor_consume", "process_consume", "process_failed"]) {
    // Objects that were published twice are tasks twice, with the same ids.
    await eventually(async () => assert.equal(await test.probe.count(queue), 0, queue));
  }
});

Deno.test("a task that fails is tried again, then in process_failed, and holds up none behind it", async () => {
  await using test = await setup();
  const handler = `${test.directory}/handler.ts`;
  await Deno.writeTextFile(
    handler,
    `export async function process({ content }, { attempt, progress, signal }) {
      progress(0.5);
      if (content.wrong) throw new Error("wrong content, attempt " + attempt);
      if (content.slow) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }`,
  );
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  await test.start("statistics");
  await test.start("processor", [
    "--handler",
    handler,
    "--max-attempts",
    "2",
    "--time-limit",
    "0.2",
  ]);
  const [wrong] = await test.post("", '{"wrong":true}');
  const [slow] = await test.post("", '{"slow":true}');
  await test.post("?count=10", "{}");
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 10));
  await eventually(async () => assert.equal((await test.statistics()).tasks.failed, 2));
  const dead = [await test.probe.take("process_failed"), await test.probe.take("process_failed")];
  const of = (object: PipelineObject) =>
    dead.find(({ content }) => JSON.parse(content.toString()).data.object.id === object.id)!;
  const { headers } = of(wrong!).properties;
  assert.equal(headers!["x-reason"], "wrong content, attempt 2");
  assert.equal(headers!["x-attempts"], 2);
  assert.equal(headers!["x-original-exchange"], "ebs");
  assert.equal(headers!["x-original-routing-key"], "task-requests");
  const event = JSON.parse(of(wrong!).content.toString());
  assert.equal(event.type, "TASK_CREATED");
  assert.deepEqual(event.data.object, wrong);
  assert.equal(of(slow!).properties.headers!["x-reason"], "the work took longer than 0.2 s");
  assert.deepEqual((await test.statistics()).tasks, {
    created: 12,
    waiting: 0,
    started: 12,
    inProgress: 0,
    finished: 10,
    failed: 2,
  });
});

Deno.test("a failed task that dead-letters replays is done by the next processor", async () => {
  await using test = await setup();
  const handler = `${test.directory}/handler.ts`;
  await Deno.writeTextFile(handler, "export function process() { throw new Error('not yet'); }");
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  await test.start("statistics");
  const failing = await test.start("processor", ["--handler", handler, "--max-attempts", "1"]);
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).tasks.failed, 1));
  await eventually(async () => assert.equal(await test.probe.count("process_failed"), 1));
  failing.kill("SIGTERM");
  await failing.ended();
  const args = ["replay", "--queue", "process_failed", "--reason", "not yet"];
  await using replay = startTool("consumers/dead-letters", "dead-letters", args, {
    AMQP_URL: test.cable.url,
  });
  const { code, stdout } = await replay.ended();
  assert.equal(stdout, "Replayed 1 message from process_failed to process_consume\n");
  assert.equal(code, 0);
  await test.start("processor", instant);
  await eventually(async () => {
    const { finished, failed } = (await test.statistics()).tasks;
    assert.deepEqual({ finished, failed }, { finished: 1, failed: 0 });
  });
});

Deno.test("Ctrl-C gives a task in the middle of its work back, also with the broker away", async () => {
  await using test = await setup();
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  await test.start("statistics");
  const first = await test.start("processor", ["--work", "60"]);
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).tasks.inProgress, 1));
  first.kill("SIGINT");
  assert.equal((await first.ended()).code, 0);
  const second = await test.start("processor", ["--work", "60"]);
  await eventually(async () => assert.equal(await test.probe.count("process_consume"), 0));
  test.cable.cut("down");
  await second.seen(/Reconnecting/);
  second.kill("SIGINT");
  assert.equal((await second.ended()).code, 0);
  test.cable.plug();
  await test.start("processor", instant);
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 1));
});

Deno.test("an event that comes twice, late or in another order is counted once", async () => {
  await using test = await setup();
  await (await test.start("statistics")).seen(/Counting events/); // bound to the exchange
  const object = { id: crypto.randomUUID(), name: "twice", content: null };
  const task = { id: `${object.id}.1`, object };
  const event = (type: string, time: string, data: unknown) =>
    JSON.stringify({
      specversion: "1.0",
      type,
      id: `${type}-${time}`,
      source: "/test",
      time,
      data,
    });
  const events = [
    event("TASK_FINISHED", "2026-01-01T00:00:05Z", { task, processor: "p", attempt: 1, spent: 3 }),
    event("TASK_CREATED", "2026-01-01T00:00:01Z", task),
    event("OBJECT_CREATED", "2026-01-01T00:00:00Z", object),
    event("TASK_STARTED", "2026-01-01T00:00:02Z", { task, processor: "p", attempt: 1, spent: 0 }),
  ];
  for (const body of [...events, ...events.toReversed()]) test.publish("processing", body);
  await eventually(async () => {
    const statistics = await test.statistics();
    assert.equal(statistics.tasks.finished, 1);
    const { objects, tasks, createdToStarted, startedToFinished } = statistics;
    assert.deepEqual({ objects, tasks, createdToStarted, startedToFinished }, {
      objects: 1,
      tasks: { created: 1, waiting: 0, started: 1, inProgress: 0, finished: 1, failed: 0 },
      createdToStarted: { mean: 1, p50: 1, p95: 1, max: 1 },
      startedToFinished: { mean: 3, p50: 3, p95: 3, max: 3 },
    });
  });
});

Deno.test("events wait while the database of the statistics fails, and none is lost", async () => {
  await using test = await setup();
  const statistics = await test.start("statistics");
  await test.start("datagen");
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).objects, 1));
  using database = new DatabaseSync(`${test.directory}/stats.db`);
  database.exec(`CREATE TRIGGER full BEFORE INSERT ON objects
    BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`);
  await test.post("?count=10");
  await statistics.seen(/The database fails: database or disk is full\. Waiting/);
  database.exec("DROP TRIGGER full");
  await eventually(async () => assert.equal((await test.statistics()).objects, 11), 3000);
  assert.equal(statistics.output.stderr.match(/fails/g)!.length, 1);
});

Deno.test("what is no event of the pipeline is dead-lettered with the reason, and life goes on", async () => {
  await using test = await setup();
  await (await test.start("statistics")).seen(/Counting events/); // bound to the exchange
  const good = {
    specversion: "1.0",
    type: "OBJECT_CREATED",
    id: "1",
    source: "/test",
    time: "2026-01-01T00:00:00Z",
    data: { id: 7, name: "numbered by another producer", content: 1 },
  };
  const bad: [string, RegExp][] = [
    ["hello...", /^the body is not JSON/],
    ["null", /^the body is no CloudEvent/],
    [
      JSON.stringify({ ...good, specversion: "2.0" }),
      /^CloudEvents version "2.0" is not supported/,
    ],
    [
      JSON.stringify({ ...good, type: "OBJECT_DELETED" }),
      /^event type "OBJECT_DELETED" is not one/,
    ],
    [JSON.stringify({ ...good, data: { id: 7 } }), /^OBJECT_CREATED: data\.name: /],
    [JSON.stringify({ ...good, time: "yesterday" }), /^OBJECT_CREATED: time: /],
  ];
  for (const [body] of bad) test.publish("objects", body);
  test.publish("objects", JSON.stringify(good));
  await eventually(async () => assert.equal((await test.statistics()).objects, 1));
  for (const [body, reason] of bad) {
    const dead = await test.probe.take("statistics.dlq");
    assert.equal(dead.content.toString(), body);
    assert.match(dead.properties.headers!["x-reason"], reason);
  }
});

Deno.test("a message of 600 KB that nobody can use holds up none of the services", async () => {
  await using test = await setup();
  await test.start("datagen");
  const services = [
    await test.start("distributor", ["--tasks", "1"]),
    await test.start("processor", instant),
    await test.start("statistics"),
  ];
  for (const service of services) await service.seen(/\[\*\] (Waiting|Counting)/);
  const body = JSON.stringify({
    specversion: "1.0",
    type: "://".repeat(200_000),
    id: "1",
    source: "/test",
    time: "2026-01-01T00:00:00Z",
    data: { id: "\u001b[31m".repeat(1000) },
  });
  for (const key of ["objects", "task-requests"]) test.publish(key, body);
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).tasks.finished, 1), 5000);
  for (const queue of ["distributor_consume.dlq", "process_failed", "statistics.dlq"]) {
    const { headers } = (await test.probe.take(queue)).properties;
    assert.match(headers!["x-reason"], /^event type "(:\/\/)+/);
    assert(headers!["x-reason"].length < 400);
  }
});

Deno.test("what a processor prints of an event moves no cursor and forges no line", async () => {
  await using test = await setup();
  const processor = await test.start("processor", instant);
  await processor.seen(/Waiting for tasks/);
  const id = "\x1b[31mred\n [x] Task forged done";
  test.publish(
    "task-requests",
    JSON.stringify({
      specversion: "1.0",
      type: "TASK_CREATED",
      id: "1",
      source: "/test",
      time: "2026-01-01T00:00:00Z",
      data: { id, object: { id: "o", name: "o", content: null } },
    }),
  );
  await processor.seen(/^ \[x\] Task \\x1b\[31mred\\n \[x\] Task forged done done in/m);
  assert(!processor.output.stdout.includes("\x1b"));
});

Deno.test("an outage in the middle of a task is no attempt of it", async () => {
  await using test = await setup();
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  await test.start("statistics");
  const processor = await test.start("processor", ["--work", "1.5", "--max-attempts", "1"]);
  await test.post();
  await eventually(async () => assert.equal((await test.statistics()).tasks.inProgress, 1));
  test.cable.cut("down");
  await processor.seen(/Reconnecting/);
  await new Promise((resolve) => setTimeout(resolve, 2000)); // the work is done meanwhile
  test.cable.plug();
  await eventually(async () => {
    const { finished, failed } = (await test.statistics()).tasks;
    assert.deepEqual({ finished, failed }, { finished: 1, failed: 0 });
  });
  assert.equal(await test.probe.count("process_failed"), 0);
});

Deno.test("a deleted queue is declared again for whom it keeps from publishing, and costs no attempt", async () => {
  await using test = await setup();
  const processor = await test.start("processor", ["--work", "0", "--max-attempts", "1"]);
  await processor.seen(/Waiting for tasks/);
  await test.probe.channel.deleteQueue("statistics");
  await test.start("datagen");
  await test.start("distributor", ["--tasks", "1"]);
  await test.post();
  await eventually(() => assert.match(processor.output.stdout, /Task \S+ done/));
  await test.start("statistics");
  await eventually(async () => {
    const { started, finished, failed } = (await test.statistics()).tasks;
    assert.deepEqual({ started, finished, failed }, { started: 1, finished: 1, failed: 0 });
  });
});

Deno.test("what a service cannot use is one clear line and the right exit code", async () => {
  await using test = await setup();
  const port = (await test.start("datagen"), new URL(test.url("datagen")).port);
  const empty = `${test.directory}/empty.ts`;
  await Deno.writeTextFile(empty, "export const other = 1;");
  const cases: [Service, string[], number, RegExp][] = [
    [
      "datagen",
      ["--port", port],
      1,
      /^Cannot listen on 127\.0\.0\.1:\d+: .*Choose another --port\n$/,
    ],
    [
      "datagen",
      ["--database", "/nowhere/x.db"],
      1,
      /^Cannot open the database '\/nowhere\/x\.db': /,
    ],
    ["processor", ["--handler", "missing.ts"], 2, /^--handler: cannot load 'missing\.ts': /],
    ["processor", ["--handler", empty], 2, /exports no function 'process'; it exports: other\n$/],
    ["processor", ["--name", "x".repeat(201)], 2, /^--name: expected 1 to 200 characters, not 201/],
    ["processor", ["--work", "5-3"], 2, /^--work: expected seconds as MIN-MAX/],
    ["distributor", ["--tasks", "0"], 2, /^--tasks: expected a whole number from 1/],
    ["statistics", ["--port", "x"], 2, /^--port: expected a whole number/],
  ];
  for (const [service, args, code, error] of cases) {
    await using process = startTool("pipeline", service, args, { AMQP_URL: test.cable.url });
    const ended = await process.ended();
    assert.match(ended.stderr, error);
    assert.equal(ended.code, code);
  }
});
