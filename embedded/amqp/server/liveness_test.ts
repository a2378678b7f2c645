import assert from "node:assert/strict";
import { type Due, Liveness, type Traffic } from "./liveness.ts";

const quiet: Traffic = { sent: 0, unsent: 0, backedUp: false, blocked: false };

/** What is due at each second from 1 to `seconds`, and the time of it. */
function run(seconds: number, interval: number, traffic: (second: number) => Partial<Traffic>) {
  const liveness = new Liveness(0);
  const found: [Due, number][] = [];
  for (let second = 1; second <= seconds; second++) {
    const due = liveness.due(second * 1000, interval, { ...quiet, ...traffic(second) });
    if (due !== "nothing") found.push([due, second]);
    if (due === "hang up") break;
  }
  return found;
}

Deno.test("heartbeats go out at half the interval; two intervals of silence end the connection", () => {
  assert.deepEqual(run(60, 10, () => ({})), [
    ["heartbeat", 5],
    ["heartbeat", 10],
    ["heartbeat", 15],
    ["heartbeat", 20],
    ["hang up", 21],
  ]);
  assert.deepEqual(run(600, 0, () => ({})), []);
});

Deno.test("a client that is not read from is alive while it takes what it is sent, or while it is blocked", () => {
  const hangs = (traffic: (second: number) => Partial<Traffic>) =>
    run(100, 10, traffic).find(([due]) => due === "hang up")?.[1];
  assert.equal(hangs((sent) => ({ backedUp: true, unsent: 1, sent })), undefined);
  assert.equal(hangs(() => ({ backedUp: true, unsent: 1, sent: 5 })), 22);
  assert.equal(hangs(() => ({ blocked: true })), undefined);
});

Deno.test("a broker that slept itself hangs up on nobody", () => {
  const liveness = new Liveness(0);
  assert.equal(liveness.due(1000, 10, quiet), "nothing");
  assert.notEqual(liveness.due(3_600_000, 10, quiet), "hang up");
  liveness.received();
  for (let second = 1; second <= 20; second++) {
    assert.notEqual(liveness.due(3_600_000 + second * 1000, 10, quiet), "hang up");
  }
});
