/**
 * Connects to the database that flags and configuration file name.
 * @module
 */
import type { Db } from "mongodb";
import { connectMongo, type Flags, mongoUrlFlag, textFlag, type Tool } from "@event-sink/lib";
import { parseDatabase, readConfig } from "./config.ts";

const DEFAULT_FILE = "/etc/event-reactor/config.json";

/** The flags that name a database. */
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
 * Connects, and waits while MongoDB is away. The configuration file of the default path need not exist.
 *
 * @throws {UsageError} when the file cannot be used
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
