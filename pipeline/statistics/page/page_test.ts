/**
 * The live page in a real browser: Debian's chromium, driven over the DevTools protocol. Where it is not installed the tests say so and
 * end; in CI they fail.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { startEmbedded } from "@event-sink/embedded";
import { connectProbe, eventually, layCable, startTool, unique } from "../../../lib/testing.ts";
import { createEvent, type Event, messageOf } from "../../event.ts";
import { installed, openPage } from "../../testing/page.ts";
import type { Sample } from "../api.ts";
import { declare, exchange } from "../../topology.ts";

/** A tool with its page open in a browser. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  // A broker of its own, whatever AMQP_URL says: the page shows all that comes through `ebs`, other tests' events too.
  const { amqpUrl } = stack.use(await startEmbedded());
  const { channel } = stack.use(await connectProbe(amqpUrl));
  const cable = stack.use(layCable(amqpUrl));
  await declare(channel);
  const directory = await Deno.makeTempDir({ prefix: "event-sink-page-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const page = stack.use(await openPage());

  const tools = stack.use(new AsyncDisposableStack());
  async function startStatistics(port: string) {
    const args = ["--port", port, "--database", `${directory}/stats.db`];
    const tool = tools.use(startTool("pipeline", "statistics", args, { AMQP_URL: cable.url }));
    const [, url] = await tool.seen(/The page is at (\S+)/);
    return { ...tool, url: url! };
  }
  const statistics = await startStatistics("0");
  const owned = stack.move();
  return {
    statistics,
    page,
    cable,
    restart: () => startStatistics(new URL(statistics.url).port),
    publish(events: Event[]) {
      for (const event of events) {
        const { routingKey, body, properties } = messageOf(event);
        channel.publish(exchange, routingKey, Buffer.from(body), properties);
      }
    },
    /** Opens the page and waits until it is connected. */
    async open() {
      await page.send("Page.navigate", { url: statistics.url });
      await eventually(async () => assert.equal(await page.connection(), "Live"));
    },
    /** Waits until the page shows the numbers of the statistics, which are these. */
    async shows(objects: number, given: Record<string, number>) {
      const tasks: Record<string, number> = {
        ...given,
        waiting: given.created! - given.started!,
      };
      await eventually(async () => {
        const numbers = await (await fetch(`${statistics.url}/api/statistics`)).json();
        assert.deepEqual({ objects: numbers.objects, tasks: numbers.tasks }, { objects, tasks });
        assert.deepEqual(await page.numbers(), {
          Objects: `${objects}`,
          "Tasks created": `${tasks.created}`,
          "Tasks waiting": `${tasks.waiting}`,
          "Tasks started": `${tasks.started}`,
          "Tasks in progress": `${tasks.inProgress}`,
          "Tasks finished": `${tasks.finished}`,
          "Tasks failed": `${tasks.failed}`,
        });
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** An object and its tasks, created 5 s ago; the first ones were started 2 s later, and worked on for 1 s. */
function eventsOf(tasks: { created: number; started: number; finished: number; failed: number }) {
  const object = { id: unique("page"), name: "test", content: null };
  const now = Date.now();
  const ago = (seconds: number, event: Event) => ({
    ...event,
    time: new Date(now - seconds * 1000).toISOString(),
  });
  const events = [
    ago(5, createEvent("OBJECT_CREATED", { id: object.id, source: "/test", data: object })),
  ];
  for (let number = 0; number < tasks.created; number++) {
    const task = { id: `${object.id}.${number}`, object };
    const data = { task, processor: "test", attempt: 1, spent: 1, reason: "<b>out of order</b>" };
    const about = (id: string) => ({ id: `${task.id}.${id}`, source: "/test", data });
    events.push(ago(5, createEvent("TASK_CREATED", { id: task.id, source: "/test", data: task })));
    if (number >= tasks.started) continue;
    events.push(ago(3, createEvent("TASK_STARTED", about("started"))));
    if (number < tasks.finished) {
      events.push(ago(2, createEvent("TASK_FINISHED", about("finished"))));
    } else if (number < tasks.finished + tasks.failed) {
      events.push(ago(2, createEvent("TASK_FAILED", about("failed"))));
    }
  }
  return events;
}

function pageTest(name: string, body: () => Promise<void>) {
  Deno.test(name, async () => {
    if (await installed()) await body();
  });
}

pageTest("the page shows the numbers and plots them, live, without an error", async () => {
  await using test = await setup();
  const { page } = test;
  await test.open();
  await page.hold(); // one connection must do
  await test.shows(0, { created: 0, started: 0, finished: 0, failed: 0, inProgress: 0 });
  const { waitP50, workP95 } = await page.values();
  assert.deepEqual([waitP50, workP95], ["–", "–"]);
  await page.evaluate("globalThis.loadedOnce = true");

  test.publish(eventsOf({ created: 9, started: 7, finished: 3, failed: 1 }));
  await test.shows(1, { created: 9, started: 7, finished: 3, failed: 1, inProgress: 3 });
  await eventually(async () => {
    for (const [what, stretches] of Object.entries(await page.drawn())) assert(stretches, what);
  });
  const values = await page.values();
  assert.equal(values.inProgress, "3");
  assert.equal(values.waiting, "2");
  const [processor] = await page.table("processors");
  assert.deepEqual(processor!.slice(0, 4), ["test", "3", "3", "1"]);
  const [failure] = await page.table("failures");
  assert.deepEqual(failure!.slice(1, 4), ["<b>out of order</b>", "1", "test"]);
  for (const name of ["waitP50", "waitP95"]) assert.equal(values[name], "2.00");
  for (const name of ["workP50", "workP95"]) assert.equal(values[name], "1.00");

  test.publish(eventsOf({ created: 1, started: 1, finished: 1, failed: 0 }));
  await test.shows(2, { created: 10, started: 8, finished: 4, failed: 1, inProgress: 3 });
  assert.equal(await page.evaluate("loadedOnce"), true);
  assert.deepEqual(page.problems, []);
  await assert.rejects(page.evaluate(`fetch("https://example.org")`));
  await eventually(() => assert.match(page.problems.join(), /Content Security Policy/));
});

pageTest("the page says when it is not connected, and connects again by itself", async () => {
  await using test = await setup();
  const { page } = test;
  await test.open();
  test.publish(eventsOf({ created: 3, started: 3, finished: 3, failed: 0 }));
  await test.shows(1, { created: 3, started: 3, finished: 3, failed: 0, inProgress: 0 });
  await page.evaluate("globalThis.loadedOnce = true");

  const lost = /^Not connected since \d\d:\d\d:\d\d, trying again$/;
  test.statistics.kill("SIGKILL");
  // Much sooner than it would notice a connection that nobody closes.
  await eventually(async () => assert.match(await page.connection(), lost), 5000);
  test.publish(eventsOf({ created: 3, started: 2, finished: 1, failed: 0 }));
  const again = await test.restart();
  await eventually(async () => assert.equal(await page.connection(), "Live"));
  await test.shows(2, { created: 6, started: 5, finished: 4, failed: 0, inProgress: 1 });

  // Nobody closes the connection, and yet nothing comes: the page makes another one.
  await page.hold();
  again.kill("SIGSTOP");
  await eventually(async () => assert.match(await page.connection(), lost));
  await page.pretend(samplesAt([0], 1234));
  await eventually(async () => assert.equal((await page.numbers()).Objects, "1,234"));
  assert.equal(await page.evaluate("loadedOnce"), true);
});

pageTest("the page fits a phone and follows the colour scheme", async () => {
  await using test = await setup();
  const { page } = test;
  const media = (value: string) =>
    page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value }],
    });
  await media("light");
  await page.hold();
  await page.send("Page.navigate", { url: test.statistics.url });
  await page.pretend(samplesAt([...Array(120).keys()], 9_876_543));
  await eventually(async () => assert.equal((await page.numbers()).Objects, "9,876,662"));
  for (const width of [1280, 390, 320]) {
    await page.send("Emulation.setDeviceMetricsOverride", {
      width,
      height: 800,
      deviceScaleFactor: 2,
      mobile: width < 1000,
    });
    await eventually(async () => {
      const { page: needed, height, plots } = await page.evaluate<
        { page: number; height: number; plots: number[] }
      >(`({
      page: document.documentElement.scrollWidth,
      height: document.documentElement.scrollHeight,
      plots: [...document.querySelectorAll("canvas")].map((canvas) =>
        Math.abs(canvas.clientWidth - canvas.closest("section").clientWidth)),
    })`);
      assert(needed <= width, `${needed} of ${width} px`);
      if (width === 1280) assert(height <= 800, `${height} px high`);
      assert.deepEqual(plots, [0, 0, 0, 0]);
    });
  }
  const light = await page.background();
  await media("dark");
  assert.notEqual(await page.background(), light);
  await eventually(async () => {
    for (const [what, stretches] of Object.entries(await page.drawn())) assert(stretches, what);
  });
});

pageTest("the page bears no samples, missing samples and a clock set back", async () => {
  await using test = await setup();
  const { page } = test;
  const seconds = [...Array(60).keys()];
  await page.hold();
  await page.send("Page.navigate", { url: test.statistics.url });
  await page.pretend([]);
  await eventually(async () => {
    assert.equal(await page.connection(), "Not connected, trying again"); // the answer has ended
  });
  assert.equal((await page.numbers()).Objects, "–");
  await page.pretend(samplesAt(seconds));
  await eventually(async () => assert.equal((await page.drawn()).inProgress, 1));
  await page.pretend(samplesAt(seconds.filter((second) => second < 20 || second > 40)));
  await eventually(async () => assert.equal((await page.drawn()).inProgress, 2));
  const { objectRate, createdRate, finishedRate } = await page.values();
  assert.deepEqual([objectRate, createdRate, finishedRate], ["1.00", "3.00", "2.00"]);
  await page.pretend(samplesAt([...seconds, 30]));
  await eventually(async () => assert.equal((await page.drawn()).inProgress, 1));
  assert.equal((await page.values()).objectRate, "–"); // of how much time?
  assert.deepEqual(page.problems, []);
});

/** Samples of the seconds given; their rates differ, so that no curve hides another. */
function samplesAt(seconds: number[], start = 100): Sample[] {
  const durations = { mean: 1, p50: 1, p95: 2, max: 3 };
  const times = {
    createdToStarted: durations,
    startedToFinished: { ...durations, p50: 0.5, p95: 1.5 },
  };
  return seconds.map((second) => {
    const [objects, created, finished] = [1, 3, 2].map((rate) => start + rate * second) as [
      number,
      number,
      number,
    ];
    return {
      time: 1_800_000_000 + second,
      objects,
      tasks: { created, waiting: 9, started: created, inProgress: 5, finished, failed: start },
      ...times,
      lastMinutes: { 1: {}, 5: times, 60: times },
    };
  });
}

pageTest("the latencies are of the minutes that are chosen", async () => {
  await using test = await setup();
  const { page } = test;
  await page.hold();
  await page.send("Page.navigate", { url: test.statistics.url });
  await page.pretend(samplesAt([...Array(60).keys()]));
  await eventually(async () => assert.equal((await page.values()).workP95, "1.50"));
  const choose = (value: string) =>
    page.evaluate(`document.querySelector("[name=window][value='${value}']").click()`);
  await choose("1");
  assert.equal((await page.values()).workP95, "–");
  await choose("all");
  assert.equal((await page.values()).workP95, "1.50");
  assert.deepEqual(page.problems, []);
});

pageTest("the page says that the broker is away, and that it is back", async () => {
  await using test = await setup();
  const { page } = test;
  const broker = () => page.evaluate<string>(`document.querySelector("#broker").innerText`);
  await test.open();
  assert.equal(await broker(), "");
  test.cable.cut("down");
  await eventually(async () => assert.match(await broker(), /^The broker is away: /));
  const { broker: trouble } = await (await fetch(`${test.statistics.url}/api/statistics`)).json();
  assert.match(trouble, /^(Lost the connection|Cannot connect)/);
  test.cable.plug();
  await eventually(async () => assert.equal(await broker(), ""));
});
