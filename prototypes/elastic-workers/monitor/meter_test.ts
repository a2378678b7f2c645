import assert from "node:assert/strict";
import { createMeter } from "./meter.ts";

const windows = { window: 60, shortWindow: 10, objective: 30 };

Deno.test("the meter counts what is taken and not reported besides what waits", () => {
  const meter = createMeter(windows);
  meter.observed(3, 2, 0);
  meter.started("a", "w1", 1);
  meter.started("b", "w2", 1);
  meter.observed(0, 2, 2);
  assert.deepEqual(pick(meter.measure(2)), { waiting: 0, busy: 2, workers: 2 });
  meter.reported({ id: "a", responseTime: 5, uploadTime: 3 }, 4);
  assert.equal(meter.measure(4).busy, 1);
  // A worker of another make says nothing; while some wait, each consumer has one in hand.
  meter.observed(7, 5, 5);
  assert.equal(meter.measure(5).busy, 5);
});

Deno.test("the meter counts an arrival once: through the queue, redelivered, reported twice", () => {
  const meter = createMeter(windows);
  for (let time = 0; time <= 60; time++) meter.observed(0, 1, time);
  meter.observed(12, 0, 60);
  meter.observed(11, 1, 70);
  meter.started("a", "w1", 70);
  meter.observed(11, 1, 80); // killed: the request is back, taken again by another
  meter.started("a", "w2", 80);
  assert.equal(meter.reported({ id: "a", responseTime: 20, uploadTime: 5 }, 85), true);
  assert.equal(meter.reported({ id: "a", responseTime: 20, uploadTime: 5 }, 86), false);
  meter.observed(11, 1, 90);
  const { arrivalRate, finished, busy } = meter.measure(90);
  assert.equal(arrivalRate * 60, 12);
  assert.deepEqual([finished, busy], [1, 1]);
});

Deno.test("the meter looks back no further than its windows", () => {
  const meter = createMeter(windows);
  let begun = 0;
  for (let time = 0; time <= 200; time++) {
    // One a second for 150 s, then two.
    for (let each = 0; each < (time > 150 ? 2 : 1); each++) {
      meter.started(`${begun}`, "w", time);
      meter.reported({ id: `${begun++}`, responseTime: time < 190 ? 1 : 9, uploadTime: 1 }, time);
    }
    meter.observed(0, 1, time);
  }
  const { arrivalRate, recentRate, p50, p95, serviceTime, silence } = meter.measure(200);
  assert(Math.abs(arrivalRate - (10 + 2 * 50) / 60) < 0.05, `${arrivalRate}`);
  assert.equal(recentRate, 2);
  assert.deepEqual([p50, p95, serviceTime, silence], [1, 9, 1, 0]);
});

Deno.test("the meter learns the time of an upload, but no load, from reports that had waited for it", () => {
  const meter = createMeter(windows);
  meter.observed(0, 1, 0);
  for (let number = 0; number < 100; number++) {
    meter.reported({ id: `${number}`, responseTime: 50, uploadTime: 7 }, 1, true);
  }
  meter.observed(0, 1, 30);
  const { arrivalRate, finished, serviceTime, p95 } = meter.measure(30);
  assert.deepEqual([arrivalRate, finished, serviceTime, p95], [0, 0, 7, undefined]);
});

Deno.test("the meter makes do with classical reports: no beginning, no upload time", () => {
  const meter = createMeter(windows);
  for (let time = 0; time <= 60; time++) {
    meter.observed(0, 2, time);
    if (time % 2 === 0) meter.reported({ id: `${time}`, responseTime: 4 }, time);
  }
  const { arrivalRate, serviceTime } = meter.measure(60);
  assert.equal(serviceTime, 4);
  assert(Math.abs(arrivalRate - 0.5) < 0.02, `${arrivalRate}`);
  // All of them waited: by Little's law from the throughput.
  const busy = createMeter(windows);
  for (let time = 0; time <= 60; time++) {
    busy.observed(50, 3, time);
    if (time % 2 === 1) busy.reported({ id: `${time}`, responseTime: 100 }, time);
  }
  assert.equal(busy.measure(60).serviceTime, 3 * 60 / 30);
});

Deno.test("the meter measures a rise, and the chance that there is none", () => {
  const meter = createMeter(windows);
  let begun = 0;
  // From 1/s to 4/s in 180 s.
  for (let time = 0; time <= 180; time++) {
    for (; begun < time + time * time / 120; begun++) meter.started(`${begun}`, `w${begun}`, time);
    meter.observed(0, 1, time);
  }
  const { trend, trendDeviation } = meter.measure(180);
  assert(Math.abs(trend - 1 / 60) < 0.001, `${trend}`);
  assert(Math.abs(trendDeviation - Math.sqrt(begun) / 90 ** 2) < 1e-4, `${trendDeviation}`);
  // Half of what it takes has not been watched yet.
  const young = createMeter(windows);
  for (let time = 0; time <= 90; time++) young.observed(time, 0, time);
  assert.equal(young.measure(90).trend, 0);
});

Deno.test("the meter learns how long workers take to come, though the wish changes meanwhile", () => {
  const meter = createMeter(windows);
  meter.observed(9, 1, 0);
  assert.equal(meter.measure(0).startTime, undefined);
  meter.asked(5, 0);
  meter.asked(9, 10);
  meter.asked(7, 20);
  meter.observed(9, 4, 39);
  assert.equal(meter.measure(39).startTime, undefined);
  meter.observed(9, 5, 40);
  assert.equal(meter.measure(40).startTime, 40);
  meter.observed(9, 7, 55); // seven were among the nine, and of the nine nobody is waited for any more
  assert.equal(meter.measure(55).startTime, 45);
  meter.asked(8, 60);
  meter.observed(9, 8, 70);
  assert.equal(meter.measure(70).startTime, 10);
});

Deno.test("the meter knows the share of late reports of an hour, not those whose upload alone was late", () => {
  const meter = createMeter(windows);
  const report = (id: number, responseTime: number, uploadTime: number, time: number) =>
    meter.reported({ id: `${id}`, responseTime, uploadTime }, time);
  meter.observed(1, 1, 0);
  for (let id = 0; id < 6; id++) report(id, 20, 10, id * 10);
  report(6, 40, 10, 100);
  report(7, 40, 35, 110);
  assert.equal(meter.measure(120).lateShare, 1 / 8);
  report(8, 20, 10, 3660);
  assert.equal(meter.measure(3665).lateShare, 1 / 3);
  assert.equal(meter.measure(9000).lateShare, 0);
  // Nobody has waited: the publisher's clock is behind.
  meter.observed(0, 1, 9000);
  report(9, 4000, 10, 9000);
  assert.equal(meter.measure(9001).lateShare, 0);
  meter.observed(1, 1, 9001);
  report(10, 4000, 10, 9002);
  assert.equal(meter.measure(9003).lateShare, 1 / 2);
  assert.equal(meter.measure(9003).sinceWaiting, 2);
});

Deno.test("the meter forgets an upload that nobody will report", () => {
  const meter = createMeter(windows);
  meter.observed(0, 2, 0);
  meter.started("lost", "w1", 0);
  meter.observed(0, 2, 500);
  assert.equal(meter.measure(500).busy, 0);
});

function pick({ waiting, busy, workers }: ReturnType<ReturnType<typeof createMeter>["measure"]>) {
  return { waiting, busy, workers };
}
