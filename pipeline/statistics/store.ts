/**
 * The numbers of the pipeline in SQLite: one row per object and per task, from which they are counted. An event that comes twice, late or out
 * of order therefore changes nothing.
 * @module
 */
import type { Event } from "../event.ts";
import { openDatabase, transaction } from "../service/sqlite.ts";

/** How long something took, in seconds. */
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
    /** Given up after the last attempt and not finished since. */
    failed: number;
    /** Started, and neither finished nor failed: tasks that wait for another attempt too. */
    inProgress: number;
  };
  /** How long tasks waited for their first start. */
  createdToStarted: Durations;
  /** From the first start to the end. */
  startedToFinished: Durations;
}

/** The store. Dispose it to close it. */
export interface StatisticsStore extends Disposable {
  /** Stores what the events say, durably, all or nothing. */
  add(events: readonly Event[]): void;
  /** What all events so far add up to. */
  read(): Statistics;
}

/**
 * Times and durations are in milliseconds. A negative duration, which comes from clocks that differ, counts as 0. Durations are stored, not
 * computed when read, because SQLite then counts and sorts them from their index alone.
 */
const schema = `
  CREATE TABLE IF NOT EXISTS objects (id TEXT PRIMARY KEY, created REAL NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, created REAL, started REAL, finished REAL, failed REAL, waited REAL, worked REAL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS tasks_waited ON tasks (waited) WHERE waited IS NOT NULL;
  CREATE INDEX IF NOT EXISTS tasks_worked ON tasks (worked) WHERE worked IS NOT NULL;
  CREATE TRIGGER IF NOT EXISTS durations AFTER UPDATE OF created, started, finished ON tasks BEGIN
    UPDATE tasks SET waited = max(0, started - created), worked = max(0, finished - started) WHERE id = new.id;
  END;
  DROP VIEW IF EXISTS statistics;
  CREATE VIEW statistics (name, value) AS
    WITH counts AS MATERIALIZED (
      SELECT count(created) AS created, count(started) AS started, count(finished) AS finished,
        total(failed IS NOT NULL AND finished IS NULL) AS failed,
        total(started IS NOT NULL AND finished IS NULL AND failed IS NULL) AS in_progress
      FROM tasks)
    SELECT 'objects', (SELECT count(*) FROM objects)
    UNION ALL SELECT 'tasks created', created FROM counts
    UNION ALL SELECT 'tasks started', started FROM counts
    UNION ALL SELECT 'tasks finished', finished FROM counts
    UNION ALL SELECT 'tasks failed', CAST(failed AS INTEGER) FROM counts
    UNION ALL SELECT 'tasks in progress', CAST(in_progress AS INTEGER) FROM counts
    ${durations("created to started", "waited")}
    ${durations("started to finished", "worked")}`;

function durations(name: string, column: string): string {
  const all = `FROM tasks WHERE ${column} IS NOT NULL`;
  const share = (part: number) =>
    `(SELECT ${column} ${all} ORDER BY ${column} LIMIT 1
      OFFSET (SELECT CAST((count(*) - 1) * ${part} AS INTEGER) ${all}))`;
  const seconds = (what: string, value: string) =>
    `UNION ALL SELECT '${name}, ${what} seconds', round(ifnull(${value}, 0) / 1000.0, 3)`;
  return [
    seconds("mean", `(SELECT avg(${column}) ${all})`),
    seconds("p50", share(0.5)),
    seconds("p95", share(0.95)),
    seconds("max", `(SELECT max(${column}) ${all})`),
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
