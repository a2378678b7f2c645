/**
 * The elastic workers' law beside others, simulated: loads, times that a worker takes to start, seeds. Each is set as its makers set it, and then its
 * one knob is turned, so that it can be compared where it pays as many worker-hours as ours.
 *
 * Run: `deno task elastic [SEED...]`
 * @module
 */
import { type Load, loads, realDays } from "./elastic/loads.ts";
import { ours, type Setting, settings } from "./elastic/ours.ts";
import { type Rival, rivals } from "./elastic/rivals.ts";
import { type Outcome, requestsOf, simulate, upload } from "./elastic/simulation.ts";

const objective = 30;
const startTimes = [0, 5, 60];
/** None of them was looked at when the law was made: those were 1 to 3. */
const seeds = Deno.args.length > 0 ? Deno.args.map(Number) : [11, 12, 13, 14, 15, 16];
/** Settings of a rival's knob, 1 as its makers set it. */
const knobs = Array.from({ length: 21 }, (_, step) => 2 ** ((step - 10) / 2));

/** One seed's outcomes: as it is set, and of each other setting. */
interface Swept {
  set: Outcome;
  turned: Outcome[];
}
/** Of each controller, the outcomes of all seeds. */
type Results = Record<string, Swept[]>;

function resultsOf(loadOf: (seed: number) => Load, startTime: number): Results {
  const results: Results = {};
  const add = (name: string, swept: Swept) => (results[name] ??= []).push(swept);
  for (const seed of seeds) {
    const load = loadOf(seed);
    const requests = requestsOf(load, seed);
    const first = Math.ceil(load.rate(0) * upload.mean) + 1;
    const run = (rival: Rival, knob: number) =>
      simulate(load, requests, rival({ objective, knob, first }), { objective, startTime, first });
    const runOurs = (setting: Setting) => run(ours(setting), 1);
    add("ours", { set: runOurs({}), turned: settings(load.most * upload.mean).map(runOurs) });
    for (const [name, rival] of Object.entries(rivals)) {
      add(name, { set: run(rival, 1), turned: knobs.map((knob) => run(rival, knob)) });
    }
  }
  return results;
}

/** The largest share of the settings that pay no more than so many worker-hours; undefined when none does. */
function shareAt({ set, turned }: Swept, hours: number): number | undefined {
  const shares = [set, ...turned].filter(({ workerHours }) => workerHours <= hours * 1.005)
    .map(({ within }) => within);
  return shares.length === 0 ? undefined : Math.max(...shares);
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
/** The share at equal worker-hours, beside the other's. */
function equal(shares: (number | undefined)[], others: number[]): string {
  const known = shares.filter((share) => share !== undefined);
  if (known.length < shares.length / 2) return "cannot pay so little";
  const more = median(shares.map((share, index) => (share ?? 0) - others[index]!));
  return `${spread(known, percent)}${more > 0.0005 ? " more" : more < -0.0005 ? " less" : ""}`;
}

function print(title: string, results: Results) {
  console.log(`\n### ${title}\n`);
  const heads = ["", "% within 30 s", "worker-hours", "changes", "overshoot", "recovery in s"]
    .concat("% of its knob at our hours", "% of ours at its hours");
  console.log(`| ${heads.join(" | ")} |\n|${" --- |".repeat(heads.length)}`);
  const mine = results.ours!;
  for (const [name, swept] of Object.entries(results)) {
    const all = (read: (outcome: Outcome) => number) => swept.map(({ set }) => read(set));
    const cells = [
      name,
      spread(all(({ within }) => within), percent),
      spread(all(({ workerHours }) => workerHours), (hours) => hours.toFixed(1)),
      spread(all(({ changes }) => changes), (changes) => changes.toFixed(0)),
      spread(all(({ overshoot }) => overshoot), (times) => times.toFixed(1)),
      spread(all(({ recovery }) => recovery), (time) => time.toFixed(0)),
    ];
    if (name === "ours") cells.push("", "");
    else {
      const at = (from: Swept[], hours: Swept[]) =>
        equal(
          from.map((each, index) => shareAt(each, hours[index]!.set.workerHours)),
          hours.map(({ set }) => set.within),
        );
      cells.push(at(swept, mine), at(mine, swept));
    }
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
