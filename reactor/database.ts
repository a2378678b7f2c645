/**
 * The database of tasks and results, from flags and configuration file.
 * @module
 */
import * as v from "valibot";
import type { Db } from "mongodb";
import {
  connectMongo,
  type Flags,
  mongoUrlFlag,
  textFlag,
  type Tool,
  UsageError,
} from "@event-sink/lib";

const DEFAULT_FILE = "/etc/event-reactor/config.json";

/** The flags of the tools that use it. */
export const databaseFlags = {
  config: textFlag("configuration file; its section 'tasks' or 'celery' names the database", {
    value: "FILE",
    short: "c",
    default: DEFAULT_FILE,
  }),
  mongoUrl: { ...mongoUrlFlag, default: "" },
} satisfies Flags;

const sectionSchema = v.object({
  /** This project's own, in place of host and port. */
  url: v.optional(v.pipe(v.string(), v.startsWith("mongodb"))),
  host: v.optional(v.string(), "127.0.0.1"),
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)), 27017),
  username: v.optional(v.string()),
  password: v.optional(v.string(), ""),
  database: v.optional(v.pipe(v.string(), v.nonEmpty()), "eventreactor"),
  task_collection: v.optional(v.pipe(v.string(), v.nonEmpty()), "task_collection"),
});
const fileSchema = v.object({
  tasks: v.optional(sectionSchema),
  celery: v.optional(sectionSchema),
});

/** A connected database. Dispose it to close the connection. */
export interface Database extends AsyncDisposable {
  db: Db;
  /** The collection of the results. */
  resultsName: string;
}

/**
 * Connects to the database of the configuration, and waits while MongoDB is away.
 *
 * @throws {UsageError} when the file cannot be used; the default one need not exist
 */
export async function openDatabase(
  { flags, signal, log }: Pick<Tool<typeof databaseFlags>, "flags" | "signal" | "log">,
): Promise<Database> {
  const section = await readSection(flags.config);
  const url = flags.mongoUrl || urlOf(section);
  const mongo = await connectMongo({ url, signal, log });
  return {
    db: mongo.client.db(section.database),
    resultsName: section.task_collection,
    [Symbol.asyncDispose]: () => mongo[Symbol.asyncDispose](),
  };
}

function urlOf({ url, host, port, username, password }: v.InferOutput<typeof sectionSchema>) {
  const [user, word] = [username ?? "", password].map(encodeURIComponent);
  const login = username === undefined ? "" : `${user}:${word}@`;
  return url ?? `mongodb://${login}${host.includes(":") ? `[${host}]` : host}:${port}`;
}

async function readSection(file: string) {
  let config: unknown = {};
  try {
    config = JSON.parse(await Deno.readTextFile(file));
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound && file === DEFAULT_FILE;
    if (!missing) throw new UsageError(`Cannot use ${file}: ${(error as Error).message}`);
  }
  const result = v.safeParse(fileSchema, config);
  if (!result.success) {
    const [issue] = result.issues;
    throw new UsageError(`Cannot use ${file}: ${v.getDotPath(issue) ?? "it"}: ${issue.message}`);
  }
  const { tasks, celery } = result.output;
  return tasks ?? celery ?? v.parse(sectionSchema, {});
}
