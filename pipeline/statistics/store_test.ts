import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { metricsText } from "@event-sink/lib/http";
import { createEvent, type Event } from "../event.ts";
import fc from "fast-check";
import { serveMetrics } from "./metrics.ts";
import { createRollingDurations } from "./rolling.ts";
import { openStatisticsStore } from "./store.ts";

async function setup() {
  const directory = await Deno.makeTempDir();
  return {
    file: `${directory}/stats.db`,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

const object = { id: "o", name: "o", content: null };

/** The events of a task, so many seconds ago; `worked` is what its processor measured. */
function eventsOf(
  id: string,
  { ago, waited = 1, worked = 1, processor = "p", end = "TASK_FINISHED", attempt = 1, reason }: {
    ago: number;
    waited?: number;
    worked?: number;
    processor?: string;
    end?: "TASK_FINISHED" | "TASK_FAILED" | "TASK_STARTED";
    attempt?: number;
    reason?: string;
  },
): Event[] {
  const now = Date.now();
  const at = (seconds: number, event: Event) => ({
    ...event,
    time: new Date(now - seconds * 1000).toISOString(),
  });
  const task = { id, object };
  const processing = (type: "TASK_STARTED" | "TASK_FINISHED" | "TASK_FAILED", spent: number) =>
    createEvent(type, {
      id: `${id}.${type}`,
      source: "/test",
      data: { task, processor, attempt, spent, reason },
    });
  return [
    at(ago + waited, createEvent("TASK_CREATED", { id, source: "/test", data: task })),
    at(ago, processing("TASK_STARTED", 0)),
    ...end === "TASK_STARTED" ? [] : [at(ago, processing(end, worked))],
  ];
}

Deno.test("the last minutes are measured apart, so that an incident ends", async () => {
  await using test = await setup();
  using store = openStatisticsStore(test.file);
  for (let number = 0; number < 20; number++) {
    store.add(eventsOf(`old${number}`, { ago: 2 * 3600, worked: 100 }));
    store.add(eventsOf(`incident${number}`, { ago: 200, worked: 50, waited: 30 }));
    store.add(eventsOf(`now${number}`, { ago: 5, worked: 2 }));
  }
  const { lastMinutes, startedToFinished } = store.read();
  assert.equal(startedToFinished.p50, 50);
  assert.equal(lastMinutes[1].startedToFinished?.p95, 2);
  assert.equal(lastMinutes[1].createdToStarted?.max, 1);
  assert.equal(lastMinutes[5].startedToFinished?.max, 50);
  assert.equal(lastMinutes[60].startedToFinished?.mean, 26);
  assert.equal(lastMinutes[60].createdToStarted?.p95, 30);
});

Deno.test("the last minutes are known after a restart", async () => {
  await using test = await setup();
  {
    using store = openStatisticsStore(test.file);
    store.add(eventsOf("t", { ago: 100, worked: 7 }));
  }
  using store = openStatisticsStore(test.file);
  const { lastMinutes } = store.read();
  assert.equal(lastMinutes[5].startedToFinished?.p50, 7);
  assert.equal(lastMinutes[5].createdToStarted?.p50, 1);
  assert.equal(lastMinutes[1].startedToFinished, undefined);
});

Deno.test("percentiles of many durations are right to half a percent", () => {
  fc.assert(fc.property(
    fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 }),
    (durations) => {
      const rolling = createRollingDurations();
      for (const took of durations) rolling.add(Date.now() - Math.random() * 50_000, took);
      const { p50, p95, max } = rolling.last(1)!;
      const sorted = durations.toSorted((a, b) => a - b);
      const exact = (part: number) => sorted[Math.floor((sorted.length - 1) * part)]! / 1000;
      for (const [found, part] of [[p50, 0.5], [p95, 0.95], [max, 1]] as const) {
        assert(Math.abs(found - exact(part)) <= 0.006 * exact(part) + 0.001, `${found}`);
      }
    },
  ));
});

Deno.test("nothing of the last minutes is undefined, and tasks not started are waiting", async () => {
  await using test = await setup();
  using store = openStatisticsStore(test.file);
  const [created] = eventsOf("waiting", { ago: 1 });
  store.add([created!, ...eventsOf("old", { ago: 7200 })]);
  const { tasks, lastMinutes } = store.read();
  const none = { createdToStarted: undefined, startedToFinished: undefined };
  assert.deepEqual(lastMinutes, { 1: none, 5: none, 60: none });
  assert.deepEqual(tasks, {
    created: 2,
    waiting: 1,
    started: 1,
    inProgress: 0,
    finished: 1,
    failed: 0,
  });
});

Deno.test("the time worked is what the processor measured, not what passed while all was stopped", async () => {
  await using test = await setup();
  using store = openStatisticsStore(test.file);
  const [created, started] = eventsOf("t", { ago: 600 });
  const finished = eventsOf("t", { ago: 0, worked: 3.5 }).at(-1);
  const measured = store.add([created!, started!, finished!]);
  assert.deepEqual(measured.map(({ what, seconds }) => [what, seconds]), [
    ["waited", 1],
    ["worked", 3.5],
  ]);
  assert.equal(store.read().startedToFinished.max, 3.5);
});

Deno.test("processors and failures are listed, each event counted once", async () => {
  await using test = await setup();
  using store = openStatisticsStore(test.file);
  const reason = `out of\n${"paper".repeat(1000)}`;
  const events = [
    ...eventsOf("a", { ago: 9, processor: "one" }),
    ...eventsOf("b", { ago: 8, processor: "one" }),
    ...eventsOf("c", { ago: 7, processor: "two", end: "TASK_FAILED", attempt: 5, reason }),
    ...eventsOf("d", { ago: 6, processor: "two", end: "TASK_STARTED" }),
  ];
  store.add(events);
  const { processors, failures } = store.details();
  assert.deepEqual(processors.map(({ lastSeen: _, ...row }) => row), [
    { name: "one", finished: 2, failed: 0, inProgress: 0 },
    { name: "two", finished: 0, failed: 1, inProgress: 1 },
  ]);
  const [failure] = failures;
  assert.equal(failures.length, 1);
  assert.equal(failure!.task, "c");
  assert.equal(failure!.attempts, 5);
  assert.match(failure!.reason!, /^out of\\npaper/);
  assert(failure!.reason!.length < 400);
  assert.deepEqual(store.add(events.toReversed()), []);
  assert.deepEqual(store.details(), { processors, failures });
  // Replayed, and done by another one.
  store.add(eventsOf("c", { ago: 0, processor: "one", attempt: 6 }));
  assert.deepEqual(store.details().failures, []);
});

Deno.test("the metrics have histograms, and count no event twice", async () => {
  await using test = await setup();
  using store = openStatisticsStore(test.file);
  const observe = serveMetrics(store.read);
  for (let time = 1; time <= 2; time++) {
    store.add(eventsOf("t", { ago: 5, worked: 0.4, waited: 20 })).forEach(observe);
  }
  const text = await metricsText();
  for (
    const line of [
      "pipeline_tasks_finished_total 1",
      "pipeline_tasks_waiting 0",
      'pipeline_task_work_seconds_bucket{le="0.25"} 0',
      'pipeline_task_work_seconds_bucket{le="0.5"} 1',
      "pipeline_task_work_seconds_sum 0.4",
      'pipeline_task_wait_seconds_bucket{le="30"} 1',
      "pipeline_task_wait_seconds_count 1",
    ]
  ) {
    assert(text.split("\n").includes(line), `${line} is not in\n${text}`);
  }
});

Deno.test("a database of the version before goes on", async () => {
  await using test = await setup();
  {
    using database = new DatabaseSync(test.file);
    database.exec(`
      CREATE TABLE tasks (id TEXT PRIMARY KEY, created REAL, started REAL, finished REAL, failed REAL, waited REAL, worked REAL) WITHOUT ROWID;
      CREATE TRIGGER durations AFTER UPDATE OF created, started, finished ON tasks BEGIN
        UPDATE tasks SET waited = max(0, started - created), worked = max(0, finished - started) WHERE id = new.id;
      END;
      INSERT INTO tasks VALUES ('old', 0, 1000, 4000, NULL, 1000, 3000)`);
  }
  using store = openStatisticsStore(test.file);
  store.add(eventsOf("new", { ago: 60, worked: 1 }));
  const { tasks, startedToFinished } = store.read();
  assert.equal(tasks.finished, 2);
  assert.deepEqual(startedToFinished, { mean: 2, p50: 1, p95: 1, max: 3 });
});
