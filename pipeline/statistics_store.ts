/**
 * The numbers of the pipeline in SQLite. They are counted from one row per object and per task, so that an event that comes twice, late or in
 * another order changes nothing.
 * @module
 */
import type { Event } from "./event.ts";
import { openDatabase, transaction } from "./sqlite.ts";

/** Seconds. */
export interface Durations {
  mean: number;
  p50: number;
  p95: number;
  max: number;
}

/** The numbers. */
export interface Statistics {
  objects: number;
  tasks: {
    created: number;
    started: number;
    finished: number;
    /** Given up after the last attempt, and not done since. */
    failed: number;
    /** Started, and neither finished nor failed. */
    inProgress: number;
  };
  createdToStarted: Durations;
  startedToFinished: Durations;
}

/** The store. Dispose it to close it. */
export interface StatisticsStore extends Disposable {
  /** Stores what the events tell, durably, all or nothing. */
  add(events: readonly Event[]): void;
  /** What all events so far add up to. */
  read(): Statistics;
}

/** `NAME`: the column of its times. Durations are milliseconds, and negative ones (clocks that differ) none. */
const schema = `
  CREATE TABLE IF NOT EXISTS objects (id TEXT PRIMARY KEY, created REAL NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, created REAL, started REAL, finished REAL, failed REAL,
    waited REAL AS (max(0, started - created)),
    worked REAL AS (max(0, finished - started))
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS tasks_waited ON tasks (waited) WHERE waited IS NOT NULL;
  CREATE INDEX IF NOT EXISTS tasks_worked ON tasks (worked) WHERE worked IS NOT NULL;
  DROP VIEW IF EXISTS statistics;
  CREATE VIEW statistics (name, value) AS
    SELECT 'objects', count(*) FROM objects
    UNION ALL SELECT 'tasks created', count(created) FROM tasks
    UNION ALL SELECT 'tasks started', count(started) FROM tasks
    UNION ALL SELECT 'tasks finished', count(finished) FROM tasks
    UNION ALL SELECT 'tasks failed', count(*) FROM tasks WHERE failed IS NOT NULL AND finished IS NULL
    UNION ALL SELECT 'tasks in progress', count(*) FROM tasks
      WHERE started IS NOT NULL AND finished IS NULL AND failed IS NULL
    ${durations("created to started", "waited")}
    ${durations("started to finished", "worked")}`;

function durations(name: string, column: string): string {
  const share = (part: number) =>
    `(SELECT ${column} FROM tasks WHERE ${column} IS NOT NULL ORDER BY ${column} LIMIT 1
      OFFSET (SELECT CAST((count(${column}) - 1) * ${part} AS INTEGER) FROM tasks WHERE ${column} IS NOT NULL))`;
  const seconds = (what: string, value: string) =>
    `UNION ALL SELECT '${name}, ${what} seconds', round(ifnull(${value}, 0) / 1000.0, 3)`;
  return [
    seconds("mean", `(SELECT avg(${column}) FROM tasks WHERE ${column} IS NOT NULL)`),
    seconds("p50", share(0.5)),
    seconds("p95", share(0.95)),
    seconds("max", `(SELECT max(${column}) FROM tasks WHERE ${column} IS NOT NULL)`),
  ].join("\n");
}

/**
 * Opens the store in a file, created when missing.
 *
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openStatisticsStore(file: string): StatisticsStore {
  const database = openDatabase(file, schema);
  const addObject = database.prepare(
    "INSERT INTO objects (id, created) VALUES (?, ?) ON CONFLICT DO NOTHING",
  );
  const task = (column: string) =>
    database.prepare(
      `INSERT INTO tasks (id, ${column}) VALUES (?, ?) ON CONFLICT DO UPDATE SET ${column} = excluded.${column}
       WHERE ${column} IS NULL OR ${column} > excluded.${column}`,
    );
  const addTask = {
    TASK_CREATED: task("created"),
    TASK_STARTED: task("started"),
    TASK_FINISHED: task("finished"),
    TASK_FAILED: task("failed"),
  };
  const all = database.prepare("SELECT value FROM statistics");

  return {
    add(events) {
      transaction(database, () => {
        for (const event of events) {
          const time = Date.parse(event.time);
          if (event.type === "OBJECT_CREATED") addObject.run(event.data.id, time);
          else if (event.type === "TASK_CREATED") addTask[event.type].run(event.data.id, time);
          else addTask[event.type].run(event.data.task.id, time);
        }
      });
    },
    read() {
      const [objects, created, started, finished, failed, inProgress, ...rest] = all.all()
        .map(({ value }) => Number(value)) as [number, number, number, number, number, number];
      const durations = ([mean, p50, p95, max]: number[]) => ({ mean, p50, p95, max }) as Durations;
      return {
        objects,
        tasks: { created, started, finished, failed, inProgress },
        createdToStarted: durations(rest.slice(0, 4)),
        startedToFinished: durations(rest.slice(4)),
      };
    },
    [Symbol.dispose]: () => database.close(),
  };
}
