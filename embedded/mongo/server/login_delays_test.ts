import assert from "node:assert/strict";
import { LoginDelays } from "./login_delays.ts";

Deno.test("failed logins of an address make its next ones wait, longer and longer, one at a time", () => {
  let now = 0;
  const delays = new LoginDelays(() => now);
  for (let i = 0; i < 3; i++) {
    assert.equal(delays.reserve("a"), 0);
    delays.failed("a");
  }
  // Several at once do not come through at once.
  assert.deepEqual([delays.reserve("a"), delays.reserve("a"), delays.reserve("a")], [
    100,
    200,
    300,
  ]);
  assert.equal(delays.reserve("b"), 0);
  for (let i = 0; i < 20; i++) delays.failed("a");
  now += 1000;
  const waits = Array.from({ length: 5 }, () => delays.reserve("a"));
  assert.ok(waits[1]! - waits[0]! === 5000, waits.join());
  // Those that would wait too long are refused, and take nobody's turn.
  assert.ok(waits.at(-1)! > 10_000);
  assert.equal(delays.reserve("a"), waits.at(-1));
  delays.succeeded("a");
  assert.equal(delays.reserve("a"), 0);
});

Deno.test("failures are forgotten after a while, and never are many addresses remembered", () => {
  let now = 0;
  const delays = new LoginDelays(() => now);
  for (let i = 0; i < 5; i++) delays.failed("a");
  now = 16 * 60_000;
  assert.equal(delays.reserve("a"), 0);
  for (let i = 0; i < 5000; i++) delays.failed(`address ${i}`);
  assert.ok(delays.size <= 1000);
});
