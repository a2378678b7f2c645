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

/**
 * Returns our law as a rival of the others; it has no knob.
 *
 * @param flags of the monitor, where they differ from its defaults
 */
export function ours(flags: Partial<Policy> = {}): Rival {
  return ({ objective, first }) => {
    const policy: Policy = {
      ...{ objective, min: 1, max: 200, window: 60, shortWindow: 10, cooldown: 30 },
      ...flags,
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
