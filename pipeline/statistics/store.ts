/**
 * The numbers of the pipeline in SQLite: one row per object and per task, from which they are counted. An event that comes twice, late or out
 * of order therefore changes nothing.
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { printable } from "@event-sink/lib";
import type { Event } from "../event.ts";
import { openDatabase, transaction } from "@event-sink/lib/outbox";
import {
  createRollingDurations,
  type Durations,
  type RollingDurations,
  windows,
} from "./rolling.ts";
import { schema } from "./schema.ts";

/** The two times that are measured. */
export interface Times {
  /** How long tasks waited for their first start. */
  createdToStarted: Durations;
  /** How long the attempts took that finished a task, as their processors measured it. */
  startedToFinished: Durations;
}

/** The numbers. */
export interface Statistics extends Times {
  objects: number;
  tasks: {
    created: number;
    /** Created and not started yet. */
    waiting: number;
    started: number;
    /** Started, and neither finished nor failed: tasks that wait for another attempt too. */
    inProgress: number;
    finished: number;
    /** Given up after the last attempt and not finished since. */
    failed: number;
  };
  /** Times of the last minutes; undefined where nothing was measured in them. */
  lastMinutes: Record<typeof windows[number], Partial<Times>>;
}

/** What a processor has done. */
export interface ProcessorRow {
  name: string;
  /** Tasks that it works on, or that wait for another attempt after its last one. */
  inProgress: number;
  finished: number;
  failed: number;
  /** Milliseconds since the epoch of its last event. */
  lastSeen: number;
}

/** A task that was given up. */
export interface FailureRow {
  task: string;
  processor: string | null;
  /** How often it was tried. */
  attempts: number | null;
  reason: string | null;
  /** Milliseconds since the epoch. */
  time: number;
}

/** Rows of the tables on the page. */
export interface Details {
  /** Those that were seen last, by name. */
  processors: ProcessorRow[];
  /** The last ones, newest first. */
  failures: FailureRow[];
}
/** Most rows of each table. */
const MOST_ROWS = 20;

/** A duration that an event has brought. */
export interface Measured {
  what: "waited" | "worked";
  seconds: number;
  /** When it became known, in milliseconds since the epoch. */
  time: number;
}

/** The store. Dispose it to close it. */
export interface StatisticsStore extends Disposable {
  /** Stores what the events say, durably, all or nothing; returns the durations that became known. */
  add(events: readonly Event[]): Measured[];
  /** What all events so far add up to. */
  read(): Statistics;
  /** Processors and failures. */
  details(): Details;
}

/**
 * Opens the store in a file, created when missing.
 *
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openStatisticsStore(file: string): StatisticsStore {
  const database = openDatabase(file, schema);
  const addEvents = eventAdder(database);
  const all = database.prepare("SELECT name, value FROM statistics");
  const recent = {
    waited: recentDurations(database, "waited", "started"),
    worked: recentDurations(database, "worked", "finished"),
  };
  const processors = database.prepare(
    `SELECT name, finished, failed, last_seen AS lastSeen, (
       SELECT count(*) FROM tasks WHERE processor = name
       AND started IS NOT NULL AND finished IS NULL AND failed IS NULL) AS inProgress
     FROM (SELECT * FROM processors ORDER BY last_seen DESC LIMIT ${MOST_ROWS}) ORDER BY name`,
  );
  const failures = database.prepare(
    `SELECT id AS task, processor, attempt AS attempts, reason, failed AS time
     FROM tasks WHERE failed IS NOT NULL AND finished IS NULL ORDER BY failed DESC LIMIT ${MOST_ROWS}`,
  );

  return {
    add(events) {
      let measured: Measured[] = [];
      transaction(database, () => measured = addEvents(events));
      for (const { what, time, seconds } of measured) recent[what].add(time, seconds * 1000);
      return measured;
    },
    read() {
      const values = new Map(all.all().map(({ name, value }) => [name, Number(value)]));
      const value = (name: string) => values.get(name) ?? 0;
      const durations = (what: string): Durations => ({
        mean: value(`${what}, mean seconds`),
        p50: value(`${what}, p50 seconds`),
        p95: value(`${what}, p95 seconds`),
        max: value(`${what}, max seconds`),
      });
      return {
        objects: value("objects"),
        tasks: {
          created: value("tasks created"),
          waiting: value("tasks waiting"),
          started: value("tasks started"),
          inProgress: value("tasks in progress"),
          finished: value("tasks finished"),
          failed: value("tasks failed"),
        },
        createdToStarted: durations("created to started"),
        startedToFinished: durations("started to finished"),
        lastMinutes: Object.fromEntries(
          windows.map((minutes) => [minutes, {
            createdToStarted: recent.waited.last(minutes),
            startedToFinished: recent.worked.last(minutes),
          }]),
        ) as Statistics["lastMinutes"],
      };
    },
    details: () => ({
      processors: processors.all() as unknown as ProcessorRow[],
      failures: failures.all() as unknown as FailureRow[],
    }),
    [Symbol.dispose]: () => database.close(),
  };
}

/** Characters of a reason that are kept. */
const REASON_LIMIT = 300;

/** Returns what stores events within a transaction, and tells the durations that they bring. */
function eventAdder(database: DatabaseSync): (events: readonly Event[]) => Measured[] {
  const addObject = database.prepare(
    "INSERT INTO objects (id, created) VALUES (?, ?) ON CONFLICT DO NOTHING",
  );
  const ends = database.prepare("SELECT finished, failed FROM tasks WHERE id = ?");
  // The earliest time counts; the processor is that of the last attempt.
  const task = (column: string, more = "") =>
    database.prepare(
      `INSERT INTO tasks (id, ${column}, processor, attempt${more && `, ${more}`})
       VALUES (?, ?, ?, ?${more && ", ?"})
       ON CONFLICT DO UPDATE SET ${column} = min(ifnull(${column}, excluded.${column}), excluded.${column}),
         processor = CASE WHEN excluded.attempt >= ifnull(attempt, 0) THEN excluded.processor ELSE processor END,
         attempt = max(ifnull(attempt, 0), ifnull(excluded.attempt, 0))
         ${more && `, ${more} = excluded.${more}`}
       RETURNING id, created, started, waited`,
    );
  const created = database.prepare(
    `INSERT INTO tasks (id, created) VALUES (?, ?) ON CONFLICT DO UPDATE
     SET created = min(ifnull(created, excluded.created), excluded.created) RETURNING id, created, started, waited`,
  );
  const processing = {
    TASK_STARTED: task("started"),
    TASK_FINISHED: task("finished", "worked"),
    TASK_FAILED: task("failed", "reason"),
  };
  const setWaited = database.prepare("UPDATE tasks SET waited = ? WHERE id = ?");
  const sawProcessor = database.prepare(
    `INSERT INTO processors (name, finished, failed, last_seen) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET finished = finished + excluded.finished,
       failed = failed + excluded.failed, last_seen = max(last_seen, excluded.last_seen)`,
  );

  /** Negative durations, of clocks that differ, count as 0. */
  function measureWait(row: unknown): Measured | undefined {
    const { id, created, started, waited } = row as TaskTimes;
    if (created === null || started === null) return undefined;
    const milliseconds = Math.max(0, started - created);
    if (milliseconds !== waited) setWaited.run(milliseconds, id);
    if (waited !== null) return undefined;
    return { what: "waited", seconds: milliseconds / 1000, time: started };
  }

  function addEvent(event: Event, saw: Saw): Measured | undefined {
    const time = Date.parse(event.time);
    if (event.type === "OBJECT_CREATED") {
      addObject.run(event.data.id, time);
      return undefined;
    }
    if (event.type === "TASK_CREATED") return measureWait(created.get(event.data.id, time));
    const { task: { id }, processor, attempt, spent, reason } = event.data;
    const about = [id, time, processor, attempt] as const;
    if (event.type === "TASK_STARTED") {
      saw(processor, time);
      return measureWait(processing.TASK_STARTED.get(...about));
    }
    const { finished = null, failed = null } = ends.get(id) ?? {};
    if (event.type === "TASK_FINISHED") {
      saw(processor, time, finished === null ? "finished" : undefined);
      processing.TASK_FINISHED.get(...about, spent * 1000);
      return finished === null ? { what: "worked", seconds: spent, time } : undefined;
    }
    saw(processor, time, failed === null ? "failed" : undefined);
    processing.TASK_FAILED.get(...about, printable(reason ?? "", REASON_LIMIT));
  }

  return (events) => {
    // One row for many events: processors are few.
    const processors = new Map<string, { finished: number; failed: number; lastSeen: number }>();
    const saw: Saw = (name, time, end) => {
      const row = processors.get(name) ?? { finished: 0, failed: 0, lastSeen: time };
      if (end) row[end]++;
      row.lastSeen = Math.max(row.lastSeen, time);
      processors.set(name, row);
    };
    const measured = events.map((event) => addEvent(event, saw));
    for (const [name, { finished, failed, lastSeen }] of processors) {
      sawProcessor.run(name, finished, failed, lastSeen);
    }
    return measured.filter((each) => each !== undefined);
  };
}

/** Notes an event of a processor, and the end of a task that it brings. */
type Saw = (name: string, time: number, end?: "finished" | "failed") => void;

interface TaskTimes {
  id: string;
  created: number | null;
  started: number | null;
  waited: number | null;
}

/** Most durations that are read at the start, the newest ones: it must not take long. */
const MOST_READ = 200_000;

/** The durations of a column that became known in the last minutes, at the time in another column. */
function recentDurations(database: DatabaseSync, column: string, time: string): RollingDurations {
  const recent = createRollingDurations();
  const newest = database.prepare(
    `SELECT ${time} AS time, ${column} AS took FROM tasks WHERE ${time} > ? AND ${column} IS NOT NULL
     ORDER BY ${time} DESC LIMIT ${MOST_READ}`,
  );
  for (const row of newest.iterate(Date.now() - Math.max(...windows) * 60_000)) {
    recent.add(Number(row.time), Number(row.took));
  }
  return recent;
}
