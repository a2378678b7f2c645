/**
 * How others decide. Each has a knob, 1 as its makers set it; smaller asks for more workers.
 * @module
 */
import { type Controller, upload } from "./simulation.ts";

/** Makes a controller for an objective in seconds. */
export type Rival = (options: { objective: number; knob: number; first: number }) => Controller;

const least = 1;

/** The classical sample: one worker more for each report slower than 30 s, never fewer. */
const classical: Rival = ({ first, knob }) => {
  let wanted = first;
  return {
    interval: 1,
    reported: ({ response }) => void (wanted += response > 30 * knob ? 1 : 0),
    decide: () => wanted,
  };
};

/** Its author's suggestion: after each 5 reports, K so that mean normal upload time x waiting / K is in the normal range. */
const suggestion: Rival = ({ first, knob }) => {
  let wanted = first;
  let seen: number[] = [];
  let waiting = 0;
  const fifth = (upload.max - upload.min) / 5;
  const normal = { min: (upload.min + fifth) * knob, max: (upload.max - fifth) * knob };
  return {
    interval: 1,
    reported({ upload: time }) {
      if (seen.push(time) < 5) return;
      const usual = seen.filter((each) => each >= upload.min + fifth && each <= upload.max - fifth);
      const mean = usual.length > 0 ? usual.reduce((a, b) => a + b) / usual.length : upload.mean;
      seen = [];
      const expected = mean * waiting / wanted;
      if (expected > normal.max) wanted = Math.ceil(mean * waiting / normal.max);
      else if (expected < normal.min) {
        wanted = Math.max(least, Math.floor(mean * waiting / normal.min));
      }
    },
    decide(view) {
      waiting = view.waiting;
      return wanted;
    },
  };
};

/** The highest of what was asked for within the last `seconds`: the HPA's stabilisation window. */
function stabilised(seconds: number) {
  let asked: { time: number; workers: number }[] = [];
  return (time: number, workers: number) => {
    asked = [...asked.filter((each) => each.time > time - seconds), { time, workers }];
    return Math.max(...asked.map(({ workers }) => workers));
  };
}
/** The HPA's default policy: at most twice as many, or 4 more, every 15 s. */
const stepUp = (now: number, asked: number) => Math.min(asked, Math.max(2 * now, now + 4));

/** KEDA's RabbitMQ trigger, mode QueueLength, value 5: ready messages by the target; polled every 30 s, down after 300 s. */
const keda: Rival = ({ first, knob }) => {
  let wanted = first;
  const stable = stabilised(300);
  return {
    interval: 30,
    decide({ time, waiting }) {
      wanted = stable(time, stepUp(wanted, Math.max(least, Math.ceil(waiting / (5 * knob)))));
      return wanted;
    },
  };
};

/** AWS, backlog per instance: target tracking on messages by instances, acceptable = latency / service time; 3 minutes up, 15 down. */
const aws: Rival = ({ objective, first, knob }) => {
  let wanted = first;
  let above = 0;
  let below = 0;
  const acceptable = objective / upload.mean * knob;
  return {
    interval: 60,
    decide({ waiting }) {
      const ratio = waiting / wanted / acceptable;
      above = ratio > 1 ? above + 1 : 0;
      below = ratio < 0.9 ? below + 1 : 0;
      if (above >= 3) wanted = Math.ceil(wanted * ratio);
      if (below >= 15) wanted = Math.max(least, Math.ceil(wanted * Math.max(ratio, 0.5)));
      return wanted;
    },
  };
};

/** Knative's KPA: mean concurrency of 60 s by 70 % of 1 per worker; over twice what there is in 6 s is panic, which only goes up for 60 s. */
const kpa: Rival = ({ first, knob }) => {
  let seen: { time: number; load: number }[] = [];
  let panicUntil = -1;
  let wanted = first;
  return {
    interval: 2,
    decide({ time, waiting, busy, workers }) {
      seen = [...seen.filter((each) => each.time > time - 60), { time, load: waiting + busy }];
      const mean = (seconds: number) => {
        const recent = seen.filter((each) => each.time > time - seconds);
        return recent.reduce((sum, { load }) => sum + load, 0) / recent.length;
      };
      const stable = Math.ceil(mean(60) / (0.7 * knob));
      const panic = Math.ceil(mean(6) / (0.7 * knob));
      if (panic >= 2 * Math.max(1, workers)) panicUntil = time + 60;
      wanted = time < panicUntil
        ? Math.max(wanted, panic, stable)
        : Math.max(least, stable, Math.floor(wanted / 2));
      return wanted;
    },
  };
};

/** Target tracking on the response time with the HPA's rules: 15 s, tolerance 10 %, down after 300 s. */
const hpa: Rival = ({ objective, first, knob }) => {
  let seen: { time: number; response: number }[] = [];
  let wanted = first;
  const stable = stabilised(300);
  return {
    interval: 15,
    reported: ({ response }, time) => void seen.push({ time, response }),
    decide({ time }) {
      seen = seen.filter((each) => each.time > time - 60);
      const sorted = seen.map(({ response }) => response).sort((a, b) => a - b);
      const p95 = sorted[Math.ceil(0.95 * sorted.length) - 1] ?? 0;
      const ratio = p95 / (objective * knob);
      const asked = Math.abs(ratio - 1) <= 0.1 ? wanted : Math.ceil(wanted * ratio);
      wanted = stable(time, Math.max(least, stepUp(wanted, asked)));
      return wanted;
    },
  };
};

/** All of them. */
export const rivals: Record<string, Rival> = {
  "classical sample": classical,
  "its author's suggestion": suggestion,
  "KEDA QueueLength": keda,
  "AWS backlog per instance": aws,
  "Knative KPA": kpa,
  "HPA on response time": hpa,
};
