/**
 * The tables of the statistics, and the view that shows the numbers to whoever opens the file.
 * @module
 */
import type { DatabaseSync } from "node:sqlite";

/**
 * Creates what is missing. Times and durations are in milliseconds. Durations are stored, not computed when read, because SQLite then counts
 * and sorts them from their index alone.
 */
export function schema(database: DatabaseSync): void {
  database.exec(tables);
  // Files of earlier versions.
  const columns = database.prepare("SELECT name FROM pragma_table_info('tasks')").all()
    .map(({ name }) => name);
  for (const column of ["processor TEXT", "attempt INTEGER", "reason TEXT"]) {
    if (!columns.includes(column.split(" ")[0]!)) {
      database.exec(`ALTER TABLE tasks ADD COLUMN ${column}`);
    }
  }
  database.exec(indexes);
  database.exec(view);
}

const tables = `
  CREATE TABLE IF NOT EXISTS objects (id TEXT PRIMARY KEY, created REAL NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, created REAL, started REAL, finished REAL, failed REAL, waited REAL, worked REAL,
    processor TEXT, attempt INTEGER, reason TEXT
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS processors (
    name TEXT PRIMARY KEY, finished INTEGER NOT NULL, failed INTEGER NOT NULL, last_seen REAL NOT NULL
  ) WITHOUT ROWID;
  DROP TRIGGER IF EXISTS durations;`;

const indexes = `
  CREATE INDEX IF NOT EXISTS tasks_waited ON tasks (waited) WHERE waited IS NOT NULL;
  CREATE INDEX IF NOT EXISTS tasks_worked ON tasks (worked) WHERE worked IS NOT NULL;
  CREATE INDEX IF NOT EXISTS tasks_failed ON tasks (failed) WHERE failed IS NOT NULL AND finished IS NULL;
  CREATE INDEX IF NOT EXISTS tasks_in_progress ON tasks (processor)
    WHERE started IS NOT NULL AND finished IS NULL AND failed IS NULL;`;

const view = `
  DROP VIEW IF EXISTS statistics;
  CREATE VIEW statistics (name, value) AS
    WITH counts AS MATERIALIZED (
      SELECT count(created) AS created, count(started) AS started, count(finished) AS finished,
        total(started IS NULL AND finished IS NULL AND failed IS NULL) AS waiting,
        total(failed IS NOT NULL AND finished IS NULL) AS failed,
        total(started IS NOT NULL AND finished IS NULL AND failed IS NULL) AS in_progress
      FROM tasks)
    SELECT 'objects', (SELECT count(*) FROM objects)
    UNION ALL SELECT 'tasks created', created FROM counts
    UNION ALL SELECT 'tasks started', started FROM counts
    UNION ALL SELECT 'tasks finished', finished FROM counts
    UNION ALL SELECT 'tasks failed', CAST(failed AS INTEGER) FROM counts
    UNION ALL SELECT 'tasks in progress', CAST(in_progress AS INTEGER) FROM counts
    UNION ALL SELECT 'tasks waiting', CAST(waiting AS INTEGER) FROM counts
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
