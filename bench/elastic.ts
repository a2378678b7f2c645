/**
 * The elastic workers' law beside others, simulated: loads, times that a worker takes to start, seeds. Each is set as its makers set it, and then its
 * one knob is turned, so that it can be compared where it pays as many worker-hours as ours.
 *
 * Run: `deno task elastic [SEED...]`
 * @module
 */
import { type Load, loads, realDays } from "./elastic/loads.ts";
import { ours } from "./elastic/ours.ts";
import { type Rival, rivals } from "./elastic/rivals.ts";
import { type Outcome, requestsOf, simulate, upload } from "./elastic/simulation.ts";

const objective = 30;
const startTimes = [0, 5, 60];
/** None of them was looked at when the law was made: those were 1 to 3. */
const seeds = Deno.args.length > 0 ? Deno.args.map(Number) : [11, 12, 13, 14, 15, 16];
/** Settings of a rival's knob, 1 as its makers set it. */
const knobs = Array.from({ length: 41 }, (_, step) => 2 ** ((step - 20) / 4));
/** How often the distance to the setting that pays as much as ours is halved. */
const HALVINGS = 6;

/** One seed's outcomes: as its makers set it, and the largest share of the settings that pay no more than ours, undefined when none does. */
interface Swept {
  set: Outcome;
  atEqualHours?: number;
}
/** Of each controller, the outcomes of all seeds. */
type Results = Record<string, Swept[]>;

/** The outcomes of a knob's settings, the closer together the nearer to these worker-hours. */
function sweep(run: (knob: number) => Outcome, hours: number): Outcome[] {
  const swept = knobs.map((knob) => ({ knob, outcome: run(knob) }));
  const all = swept.map(({ outcome }) => outcome);
  const isMore = (outcome: Outcome) => outcome.workerHours > hours;
  for (const [index, right] of swept.entries()) {
    let left = swept[index - 1] ?? right;
    let other = right;
    if (isMore(left.outcome) === isMore(other.outcome)) continue;
    for (let halving = 0; halving < HALVINGS; halving++) {
      const knob = Math.sqrt(left.knob * other.knob);
      const middle = { knob, outcome: run(knob) };
      all.push(middle.outcome);
      if (isMore(middle.outcome) === isMore(left.outcome)) left = middle;
      else other = middle;
    }
  }
  return all;
}

function resultsOf(loadOf: (seed: number) => Load, startTime: number): Results {
  const results: Results = {};
  const add = (name: string, swept: Swept) => (results[name] ??= []).push(swept);
  for (const seed of seeds) {
    const load = loadOf(seed);
    const requests = requestsOf(load, seed);
    const first = Math.ceil(load.rate(0) * upload.mean) + 1;
    const run = (rival: Rival, knob = 1) =>
      simulate(load, requests, rival({ objective, knob, first }), { objective, startTime, first });
    const mine = run(ours());
    add("ours", { set: mine });
    for (const [name, rival] of Object.entries(rivals)) {
      const shares = sweep((knob) => run(rival, knob), mine.workerHours)
        .filter(({ workerHours }) => workerHours <= mine.workerHours).map(({ within }) => within);
      const atEqualHours = shares.length > 0 ? Math.max(...shares) : undefined;
      add(name, { set: run(rival), atEqualHours });
    }
  }
  return results;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}
const percent = (share: number) => (100 * share).toFixed(1);
/** Median, and the lowest and highest where they differ from it. */
function spread(values: number[], format: (value: number) => string): string {
  const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)]
    .map(format);
  return low === high ? low! : `${middle} (${low}-${high})`;
}
/** The shares at equal worker-hours, and whether they are larger or smaller than ours. */
function equal(swept: Swept[], mine: Swept[]): string {
  const known = swept.map(({ atEqualHours }) => atEqualHours).filter((share) =>
    share !== undefined
  );
  if (known.length < swept.length) return "cannot pay so little";
  const more = median(known.map((share, index) => share - mine[index]!.set.within));
  return `${spread(known, percent)}${more > 0.0005 ? ", more" : more < -0.0005 ? ", less" : ""}`;
}

function print(title: string, results: Results) {
  console.log(`\n### ${title}\n`);
  const heads = ["", "% within 30 s", "worker-hours", "changes", "overshoot", "recovery in s"]
    .concat("% with its knob at our hours");
  console.log(`| ${heads.join(" | ")} |\n|${" --- |".repeat(heads.length)}`);
  for (const [name, swept] of Object.entries(results)) {
    const all = (read: (outcome: Outcome) => number) => swept.map(({ set }) => read(set));
    const cells = [
      name,
      spread(all(({ within }) => within), percent),
      spread(all(({ workerHours }) => workerHours), (hours) => hours.toFixed(1)),
      spread(all(({ changes }) => changes), (changes) => changes.toFixed(0)),
      spread(all(({ overshoot }) => overshoot), (times) => times.toFixed(1)),
      spread(all(({ recovery }) => recovery), (time) => time.toFixed(0)),
      name === "ours" ? "" : equal(swept, results.ours!),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

console.log(`Seeds ${seeds.join(", ")}: median (lowest-highest)`);
const days = await realDays();
const all: [string, (seed: number) => Load][] = [
  ...loads.map((load): [string, () => Load] => [load.name, () => load]),
  ["a real day", (seed) => days[seed % days.length]!],
];
for (const [name, loadOf] of all) {
  for (const startTime of startTimes) {
    print(`${name}, a worker starts in ${startTime} s`, resultsOf(loadOf, startTime));
  }
}
