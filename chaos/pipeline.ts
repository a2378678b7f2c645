/**
 * The pipeline under trial: datagen, distributor, two processors, statistics. Every stored object becomes three tasks, each done once.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { pause } from "@event-sink/lib";
import { startTool } from "../lib/testing.ts";
import { freePort } from "./servers.ts";
import type { Account, Setup, System, World } from "./world.ts";

const TASKS = 3;
/** Milliseconds between two requests, and objects that one of them makes. */
const INTERVAL = 400;
const OBJECTS = 3;
/** Objects that tell whether all flows: the broker gives some of their tasks to each processor. */
const PROBE = 5;

/** The pipeline. */
export const pipeline: Setup = {
  name: "pipeline",
  consumers: { distributor_consume: 1, process_consume: 2, statistics: 1 },
  deadLetters: ["process_failed", "distributor_consume.dlq", "statistics.dlq"],
  exchanges: ["ebs"],
  start,
};

function start(world: World): System {
  const { directory } = world;
  const objects = `${directory}/objects.db`;
  const stats = `${directory}/stats.db`;
  const url = `http://127.0.0.1:${freePort()}`;
  const service = (name: string, task: string, ...args: string[]) => {
    const env = { AMQP_URL: world.amqpUrl(name) };
    world.start(name, () => startTool("pipeline", task, args, env));
  };
  service("datagen", "datagen", "--port", new URL(url).port, "--database", objects);
  service("statistics", "statistics", "--database", stats);
  service("distributor", "distributor");
  for (const name of ["processor 1", "processor 2"]) {
    service(name, "processor", "--work", "0.02-0.1", "--concurrency", "4", "--name", name);
  }
  const accepted = new Set<string>();

  async function make(count: number): Promise<string[]> {
    const signal = AbortSignal.timeout(5000);
    try {
      const request = `${url}/api/objects?count=${count}`;
      const response = await fetch(request, { method: "POST", signal });
      if (response.status !== 201) return [];
      const made = (await response.json() as { id: string }[]).map(({ id }) => id);
      made.forEach((id) => accepted.add(id));
      return made;
    } catch {
      return []; // datagen is away
    }
  }
  /** Undefined while the file is not there or cannot be read. */
  function read<T>(file: string, sql: string): T[] {
    try {
      using database = new DatabaseSync(file, { readOnly: true, timeout: 1000 });
      return database.prepare(sql).all() as T[];
    } catch {
      return [];
    }
  }
  const isFinished = "created NOT NULL AND started NOT NULL AND finished NOT NULL";

  return {
    async load(signal) {
      while (!signal.aborted) {
        await make(OBJECTS);
        await pause(INTERVAL, signal).catch(() => {});
      }
    },
    async probe(signal) {
      while (!signal.aborted) {
        const ids = await make(PROBE);
        while (ids.length === PROBE && !signal.aborted) {
          const mine = ids.map((id) => `id GLOB '${id}.*'`).join(" OR ");
          const sql = `SELECT id FROM tasks WHERE (${mine}) AND ${isFinished}`;
          if (read(stats, sql).length === TASKS * PROBE) return;
          await pause(100);
        }
        await pause(100);
      }
    },
    progress: () => {
      const [row] = read<{ count: number }>(
        stats,
        "SELECT count(*) AS count FROM tasks WHERE finished NOT NULL",
      );
      return Promise.resolve(row?.count ?? 0);
    },
    check(): Promise<Account> {
      type Row = { id: string };
      const stored = read<Row>(objects, "SELECT id FROM objects").map(({ id }) => id);
      const counted = read<Row>(stats, "SELECT id FROM objects").map(({ id }) => id);
      const tasks = read<Row>(stats, "SELECT id FROM tasks").map(({ id }) => id);
      const done = new Set(
        read<Row>(stats, `SELECT id FROM tasks WHERE ${isFinished}`).map(({ id }) => id),
      );
      const failed = read<Row>(
        stats,
        "SELECT id FROM tasks WHERE failed NOT NULL AND finished IS NULL",
      );
      const all = new Set(stored);
      const known = new Set(counted);
      const expected = stored.flatMap((id) =>
        Array.from({ length: TASKS }, (_, index) => `${id}.${index + 1}`)
      );
      const wanted = new Set(expected);
      return Promise.resolve({
        accepted: all.size,
        missing: [
          ...[...accepted].filter((id) => !all.has(id)).map((id) => `object ${id} not stored`),
          ...stored.filter((id) => !known.has(id)).map((id) => `object ${id} not counted`),
          ...expected.filter((id) => !done.has(id)).map((id) => `task ${id} not done`),
          ...failed.map(({ id }) => `task ${id} failed`),
        ],
        excess: [
          ...counted.filter((id) => !all.has(id)).map((id) => `object ${id}`),
          ...tasks.filter((id) => !wanted.has(id)).map((id) => `task ${id}`),
        ],
      });
    },
  };
}
