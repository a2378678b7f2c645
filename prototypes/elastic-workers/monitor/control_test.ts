import assert from "node:assert/strict";
import fc from "fast-check";
import { decide, firstMemory, type Memory, type Policy, staffing } from "./control.ts";
import type { Measurements } from "./meter.ts";

const policy: Policy = {
  objective: 30,
  min: 1,
  max: 50,
  window: 60,
  shortWindow: 10,
  cooldown: 60,
};

/** A quiet app: 0.4 requests/s of 5 s keep 2 workers busy. */
function measured(more: Partial<Measurements> = {}): Measurements {
  return {
    time: 1000,
    ...{ waiting: 0, busy: 2, workers: 4, arrivalRate: 0.4, recentRate: 0.4 },
    ...{
      serviceTime: 5,
      serviceP95: 8,
      p50: 6,
      p95: 10,
      finished: 24,
      ...{ startTime: 1, trend: 0, trendDeviation: 0, lateShare: 0, sinceWaiting: 0 },
      silence: 1,
      watched: 1000,
    },
    ...more,
  };
}
const having = (workers: number, more: Partial<Memory> = {}): Memory => ({
  ...firstMemory(workers, policy, 0),
  ...more,
});

Deno.test("staffing() gives Erlang's numbers", () => {
  // Calls of 180 s at 0.02778/s are 5 erlangs; 8 agents answer 90 % within 20 s (a table of Erlang C: 8 for 83 to 93 %).
  assert.equal(staffing(5, 20 / 180, 0.15, 2000), 8);
  assert.equal(staffing(0, 1, 0.05, 2000), 0);
  assert.equal(staffing(0.1, 100, 0.05, 2000), 1);
  assert(staffing(1000, 0, 0.05, 2000) < 1100); // not infinite
});

Deno.test("staffing() is more than the load, and grows with load and impatience", () => {
  const load = fc.double({ min: 0.01, max: 500, noNaN: true });
  const patience = fc.double({ min: 0, max: 20, noNaN: true });
  fc.assert(fc.property(load, load, patience, patience, (a, b, c, d) => {
    const [less, more] = [Math.min(a, b), Math.max(a, b)];
    const [impatient, patient] = [Math.min(c, d), Math.max(c, d)];
    assert(staffing(less, patient, 0.05, 2000) > less);
    assert(staffing(less, patient, 0.05, 2000) <= staffing(more, patient, 0.05, 2000));
    assert(staffing(less, patient, 0.05, 2000) <= staffing(less, impatient, 0.05, 2000));
  }));
});

Deno.test("decide() keeps between min and max, in whole workers, whatever is measured", () => {
  const number = fc.double({ min: 0, max: 1e6, noNaN: true });
  const maybe = fc.option(number, { nil: undefined });
  fc.assert(
    fc.property(
      fc.record({
        ...{ waiting: fc.nat(1e7), busy: fc.nat(1000), workers: fc.nat(1000) },
        ...{ arrivalRate: number, recentRate: number, silence: number, watched: number },
        ...{
          serviceTime: maybe,
          serviceP95: maybe,
          p50: maybe,
          p95: maybe,
          finished: fc.nat(1000),
        },
      }),
      fc.nat(100),
      (input, workers) => {
        const decision = decide({ time: 1000, ...input } as Measurements, having(workers), policy);
        assert(Number.isInteger(decision.workers));
        assert(decision.workers >= policy.min && decision.workers <= policy.max);
        assert.equal(decision.memory.workers, decision.workers);
        assert.notEqual(decision.reason, "");
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("decide() asks for no fewer when more wait", () => {
  fc.assert(fc.property(fc.nat(500), fc.nat(500), (a, b) => {
    const [few, many] = [Math.min(a, b), Math.max(a, b)]
      .map((waiting) => decide(measured({ waiting }), having(3), policy).workers) as [
        number,
        number,
      ];
    assert(few <= many);
  }));
});

Deno.test("decide() leaves well alone", () => {
  const { workers, reason } = decide(measured(), having(3), policy);
  assert.equal(workers, 3);
  assert.equal(reason, "0.40 requests/s x 5.0 s keep 2.0 workers busy");
});

Deno.test("decide() adds at once what a backlog takes, within a step", () => {
  const one = decide(measured({ waiting: 20, workers: 3 }), having(3), policy);
  // 20 x 5 s in four fifths of 22 s less the second that a worker takes to start.
  assert.equal(one.workers, 6);
  assert.match(one.reason, /^20 waiting take 3 workers 33 s, the objective leaves 22 s/);
  const next = decide(measured({ waiting: 200, workers: 6 }), one.memory, policy);
  assert.equal(next.workers, 12);
  assert.match(next.reason, /; 6 at once$/);
});

Deno.test("decide() has workers to spare when nobody comes in time, and asks for what will wait until they come", () => {
  const slow = { startTime: 60, workers: 3, waiting: 0, busy: 3 };
  const spare = { ...slow, workers: 6, arrivalRate: 0.8, recentRate: 0.8 };
  assert.equal(decide(measured(spare), having(4), policy).workers, staffing(4, 22 / 5, 0.05, 50));
  assert.equal(decide(measured({ ...spare, startTime: 1 }), having(4), policy).workers, 4);
  const asked = (more: Partial<Memory>) =>
    decide(
      measured({ ...slow, waiting: 20, arrivalRate: 0.8, recentRate: 0.8 }),
      having(3, more),
      { ...policy, max: 1000 },
    ).workers;
  // In 60 s 48 more arrive and 3 workers do 36, so that 32 wait: in another 60 s beside a load of 4 that takes 6.7; from 3 at most 7.
  assert.equal(asked({}), 7);
  const long = { workers: 10, asked: [{ time: 0, workers: 3 }] };
  assert.equal(asked({ ...long, changed: 1000 }), 10);
  // Those that were asked for 50 s ago come in 10 s, and nobody waits in the end.
  const coming = { asked: [{ time: 0, workers: 3 }, { time: 950, workers: 10 }] };
  assert.equal(asked(coming), 5);
});

Deno.test("decide() looks ahead on a rise for as long as a worker takes to start, if chance does not explain it", () => {
  const slow = { startTime: 60, workers: 4 };
  const { workers, reason } = decide(
    measured({ ...slow, trend: 0.01, trendDeviation: 0.005 }),
    having(4),
    policy,
  );
  // 0.4/s, and 0.005/s more each second for 60 s and half the window.
  assert.match(reason, /^0\.85 requests\/s in 60 s x 5\.0 s keep 4\.3 workers busy/);
  assert.equal(workers, 5);
  const chance = measured({ ...slow, trend: 0.01, trendDeviation: 0.02 });
  assert.equal(decide(chance, having(4), policy).workers, 3);
  const soon = measured({ ...slow, startTime: 1, trend: 0.01, trendDeviation: 0.005 });
  assert.equal(decide(soon, having(4), policy).workers, 3);
});

Deno.test("decide() keeps those that the last rise took while too much was late and nobody comes in time", () => {
  const peaks = [{ time: 900, workers: 12 }];
  const misses = { startTime: 60, lateShare: 0.2, workers: 20 };
  const memory = having(20, { peaks });
  assert.equal(decide(measured(misses), memory, policy).workers, 14);
  const held = decide(measured({ ...misses, workers: 12 }), having(12, { peaks }), policy);
  assert.equal(held.workers, 12);
  assert.match(held.reason, /^20 % of the last hour were late: holding/);
  for (const more of [{ lateShare: 0.04 }, { startTime: 1 }]) {
    const free = decide(
      measured({ ...misses, workers: 12, ...more }),
      having(12, { peaks }),
      policy,
    );
    assert.equal(free.workers, 8);
  }
});

Deno.test("decide() takes away slowly: after the cooldown, and one or a third at a time", () => {
  let memory = having(20, { changed: 990 });
  const seen: number[] = [];
  for (let time = 1000; time < 1400; time++) {
    const decision = decide(measured({ time, workers: memory.workers }), memory, policy);
    if (decision.workers !== memory.workers) {
      assert(memory.workers - decision.workers <= Math.max(1, memory.workers / 3));
      assert(time - memory.changed >= policy.cooldown);
      seen.push(decision.workers);
    }
    memory = decision.memory;
  }
  assert.deepEqual(seen, [14, 10, 7, 5, 4, 3]);
});

Deno.test("decide() does not go up and down while the load stays (hysteresis)", () => {
  fc.assert(fc.property(fc.double({ min: 0.05, max: 8, noNaN: true }), (rate) => {
    let memory = having(1, { changed: -1000 });
    let changes = 0;
    let down = 0;
    for (let time = 1000; time < 1600; time++) {
      // Off by a twenty-fifth either way.
      const arrivalRate = rate * (1 + 0.04 * Math.sin(time / 17));
      const { workers } = memory;
      const decision = decide(
        measured({ time, workers, arrivalRate, recentRate: arrivalRate }),
        memory,
        policy,
      );
      if (decision.workers !== workers) changes++;
      if (decision.workers < workers) down++;
      memory = decision.memory;
    }
    assert.equal(down, 0, `${changes} changes`);
  }));
});

Deno.test("decide() answers a burst by the short window, and holds after it", () => {
  const burst = decide(measured({ recentRate: 3, workers: 4 }), having(4), policy);
  assert.equal(burst.workers, 8);
  assert.match(burst.reason, /^a burst of 3\.00 requests\/s/);
  const after = decide(measured({ time: 1059, workers: 8 }), {
    ...burst.memory,
    changed: 900,
    enough: [],
  }, policy);
  assert.equal(after.workers, 8);
  assert.match(after.reason, /after a burst: holding/);
  // Three requests where two were expected are chance.
  assert(decide(measured({ recentRate: 0.6 }), having(4), policy).workers <= 4);
});

Deno.test("decide() adds when 95 % are late though the rates say that it is enough, once in a window", () => {
  const late = { p95: 45, busy: 4 };
  const first = decide(measured(late), having(4), policy);
  assert.equal(first.workers, 5);
  assert.match(first.reason, /^95 % take 45 s and all workers are busy/);
  const next = decide(measured({ ...late, time: 1010, busy: 5, workers: 5 }), first.memory, policy);
  assert.equal(next.workers, 5);
  // With workers idle, more of them would be of no use.
  assert.equal(decide(measured({ ...late, busy: 1 }), having(4), policy).workers, 4);
  // Uploads alone take longer than the objective: no number of workers helps.
  const long = { serviceTime: 45, serviceP95: 60, p95: 62, busy: 4, arrivalRate: 0.01 };
  assert(decide(measured({ ...long, recentRate: 0.01 }), having(4), policy).workers <= 4);
});

Deno.test("decide() does not believe reports of long waits when nobody has waited: the publisher's clock is behind", () => {
  const behind = { p50: 3600, p95: 3610, sinceWaiting: 121 };
  assert.equal(decide(measured({ ...behind, busy: 4 }), having(4), policy).workers, 3);
  assert.equal(
    decide(measured({ ...behind, busy: 4, sinceWaiting: 119 }), having(4), policy).workers,
    5,
  );
});

Deno.test("decide() holds when reports stop though there is work, and lets an idle app go", () => {
  const silent = { silence: 300, waiting: 5, busy: 4, arrivalRate: 0, recentRate: 0 };
  const held = decide(measured(silent), having(4), policy);
  assert.equal(held.workers, 4);
  assert.match(held.reason, /^no report for 300 s though there is work: holding/);
  const idle = { ...silent, waiting: 0, busy: 0, p50: undefined, p95: undefined };
  assert.equal(decide(measured(idle), having(4), policy).workers, 3);
});

Deno.test("decide() goes to zero and comes from zero where min is 0", () => {
  const free = { ...policy, min: 0 };
  const idle = { waiting: 0, busy: 0, arrivalRate: 0, recentRate: 0, workers: 1 };
  assert.equal(decide(measured(idle), having(1), free).workers, 0);
  const first = {
    ...idle,
    ...{ waiting: 1, workers: 0, silence: 1000, serviceTime: undefined, serviceP95: undefined },
  };
  const { workers, reason } = decide(measured(first), having(0), free);
  assert(workers >= 1);
  assert.match(reason, /^1 waiting take 0 workers for ever.*\(a guess: no upload is done yet\)$/);
});

Deno.test("decide() takes nobody away before it has watched for a window", () => {
  const { workers, reason } = decide(measured({ watched: 59 }), having(10), policy);
  assert.equal(workers, 10);
  assert.match(reason, /watching for less than the window/);
});

Deno.test("decide() says what --min and --max have kept from being asked for", () => {
  const most = decide(measured({ waiting: 1000 }), having(49), policy);
  assert.deepEqual([most.workers, /--max allows 50$/.test(most.reason)], [50, true]);
  const least = decide(measured({ arrivalRate: 0, recentRate: 0, busy: 0 }), having(3), {
    ...policy,
    min: 3,
  });
  assert.equal(least.workers, 3);
});
