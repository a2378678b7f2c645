/**
 * The tools' own meter and law, with the monitor's defaults.
 * @module
 */
import {
  decide,
  firstMemory,
  type Policy,
} from "../../prototypes/elastic-workers/monitor/control.ts";
import { createMeter } from "../../prototypes/elastic-workers/monitor/meter.ts";
import type { Rival } from "./rivals.ts";

/** What is set in another way than by default: flags of the monitor. */
export type Setting = Partial<Policy> & { strictness?: number };

/** The settings that are tried: one flag turned at a time, `--objective`, `--cooldown`, `--min` or `--max`; the last two by what the load's peak keeps
 * busy. */
export function settings(peak: number): Setting[] {
  const of = (shares: number[], make: (workers: number) => Setting) =>
    shares.map((share) => make(Math.max(1, Math.round(share * peak))));
  return [
    ...[0.5, 0.75, 1.5, 2.5].map((strictness) => ({ strictness })),
    { cooldown: 0 },
    ...of([0.3, 0.6, 1, 1.4, 2.5], (min) => ({ min })),
    ...of([0.25, 0.5, 0.75, 0.95], (max) => ({ max })),
  ];
}

/** Returns our law as a rival of the others. */
export function ours({ strictness = 1, ...setting }: Setting): Rival {
  return ({ objective, first }) => {
    const policy: Policy = {
      ...{ objective: objective * strictness, min: 1, max: 200 },
      ...{ window: 60, shortWindow: 10, cooldown: 30 },
      ...setting,
    };
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
}
