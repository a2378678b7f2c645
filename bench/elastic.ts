/**
 * The elastic workers' law beside others, simulated: loads, start-up times, and for each rival also its knob turned until it pays as many worker-hours
 * as ours.
 *
 * Run: `deno task elastic [SEED]`
 * @module
 */
import { decide, firstMemory } from "../prototypes/elastic-workers/monitor/control.ts";
import { createMeter } from "../prototypes/elastic-workers/monitor/meter.ts";
import { loads } from "./elastic/loads.ts";
import { type Rival, rivals } from "./elastic/rivals.ts";
import { type Load, type Outcome, requestsOf, simulate } from "./elastic/simulation.ts";

const seed = Number(Deno.args[0] ?? 1);
const objective = 30;

/** The tools' own meter and law, with the monitor's defaults. */
const ours: Rival = ({ objective, first }) => {
  const policy = { objective, min: 1, max: 200, window: 60, shortWindow: 10, cooldown: 30 };
  const meter = createMeter(policy);
  let memory = firstMemory(first, policy, 0);
  return {
    interval: 1,
    started: (id, worker, time) => meter.started(`${id}`, `${worker}`, time),
    reported: ({ id, response, upload }, time) =>
      void meter.reported({ id: `${id}`, responseTime: response, uploadTime: upload }, time),
    decide({ time, waiting, workers }) {
      meter.observed(waiting, workers, time);
      ({ memory } = decide(meter.measure(time), memory, policy));
      meter.asked(memory.workers, time);
      return memory.workers;
    },
  };
};

/** The knob with which a rival pays as many worker-hours, within 2 %, or as near as it gets. */
function atEqualHours(run: (knob: number) => Outcome, hours: number): Outcome {
  let best: Outcome | undefined;
  const distance = (outcome: Outcome) => Math.abs(outcome.workerHours / hours - 1);
  for (let low = -5, high = 5, step = 0; step < 12; step++) {
    const middle = (low + high) / 2;
    const outcome = run(2 ** middle);
    if (!best || distance(outcome) < distance(best)) best = outcome;
    if (distance(best) < 0.02) break;
    if (outcome.workerHours > hours) low = middle;
    else high = middle;
  }
  return best!;
}

function row(
  name: string,
  { within, workerHours, changes, overshoot, recovery }: Outcome,
  equal?: Outcome,
) {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const cells = [
    name,
    percent(within),
    workerHours.toFixed(1),
    changes,
    overshoot.toFixed(1),
    `${Math.round(recovery)} s`,
    equal ? `${percent(equal.within)} (${equal.workerHours.toFixed(1)})` : "",
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

function runner(load: Load, startTime: number) {
  const requests = requestsOf(load, seed);
  const first = Math.ceil(load.rate(0) * 10) + 1;
  return (rival: Rival, knob = 1) =>
    simulate(load, requests, rival({ objective, knob, first }), { objective, startTime, first });
}

for (const load of loads) {
  for (const startTime of [0, 5, 60]) {
    const run = runner(load, startTime);
    console.log(`\n${load.name}, a worker starts in ${startTime} s\n`);
    console.log(
      "| | within 30 s | worker-hours | changes | overshoot | recovery | at our worker-hours |",
    );
    console.log("| --- | --- | --- | --- | --- | --- | --- |");
    const mine = run(ours);
    row("ours", mine);
    for (const [name, rival] of Object.entries(rivals)) {
      row(name, run(rival), atEqualHours((knob) => run(rival, knob), mine.workerHours));
    }
  }
}
