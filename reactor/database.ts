/**
 * The database of tasks and results, from flags and configuration file.
 * @module
 */
import type { Db } from "mongodb";
import { connectMongo, type Flags, mongoUrlFlag, textFlag, type Tool } from "@event-sink/lib";
import { parseDatabase, readConfig } from "./config.ts";

const DEFAULT_FILE = "/etc/event-reactor/config.json";

/** The flags of the tools that use it. */
export const databaseFlags = {
  config: textFlag("configuration file; its section 'tasks' or 'celery' names the database", {
    value: "FILE",
    short: "c",
    default: DEFAULT_FILE,
  }),
  mongoUrl: {
    ...mongoUrlFlag,
    about: "MongoDB to use, in place of the configuration's",
    default: "",
  },
} satisfies Flags;

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
  const config = await readConfig(flags.config, parseDatabase).catch((error) => {
    if (!(error.cause instanceof Deno.errors.NotFound) || flags.config !== DEFAULT_FILE) {
      throw error;
    }
    return parseDatabase("{}");
  });
  const url = flags.mongoUrl || config.url || mongoUrlFlag.default;
  const mongo = await connectMongo({ url, signal, log });
  return {
    db: mongo.client.db(config.name),
    resultsName: config.results,
    [Symbol.asyncDispose]: () => mongo[Symbol.asyncDispose](),
  };
}
