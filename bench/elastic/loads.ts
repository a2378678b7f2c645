/**
 * The loads, in requests per second. An upload takes 10 s, so that 1/s keeps 10 workers busy.
 * @module
 */
import { type Load, seeded } from "./simulation.ts";

const inside = (time: number, from: number, to: number) => time >= from && time < to;

/**
 * A day, generated: the shape that published traces of web servers share. Six times as much at the busiest hour as at night, less at noon, noise
 * of a tenth that changes each five minutes, and two crowds that come within a minute and go within twenty.
 */
function day(): Load {
  const random = seeded(7);
  const noise = Array.from({ length: 288 }, () => 0.9 + 0.2 * random());
  const crowd = (time: number, at: number) =>
    time < at ? 0 : time < at + 60 ? (time - at) / 60 : Math.exp(-(time - at - 60) / 400);
  return {
    name: "day",
    seconds: 86_400,
    most: 4.2,
    rate(time) {
      const hour = time / 3600;
      const daily = 0.2 + 1.0 * Math.max(0, Math.sin((hour - 6) / 16 * Math.PI)) ** 1.2;
      const noon = 1 - 0.25 * Math.exp(-((hour - 12.5) ** 2) / 0.5);
      const crowds = crowd(time, 10 * 3600) + 1.8 * crowd(time, 20 * 3600);
      return Math.min(4.2, daily * noon * noise[Math.floor(time / 300) % 288]! + crowds);
    },
  };
}

/** All loads. */
export const loads: Load[] = [
  {
    name: "step",
    seconds: 3600,
    most: 2,
    rate: (time) => inside(time, 900, 2100) ? 2 : 0.5,
  },
  {
    name: "ramp",
    seconds: 3600,
    most: 3,
    rate: (time) => 0.2 + 2.8 * (1 - Math.abs(time - 1800) / 1800),
  },
  {
    name: "spike",
    seconds: 3600,
    most: 5,
    rate: (time) => [600, 1500, 2700].some((at) => inside(time, at, at + 60)) ? 5 : 0.5,
  },
  {
    name: "sine",
    seconds: 7200,
    most: 2.2,
    rate: (time) => 1.2 + Math.sin(time / 1200 * 2 * Math.PI),
  },
  day(),
];
