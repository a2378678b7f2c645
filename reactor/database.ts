/**
 * Connects to the database that flags and configuration file name.
 * @module
 */
import type { Db } from "mongodb";
import {
  connectMongo,
  type Flags,
  type Log,
  mongoUrlFlag,
  nameOf,
  textFlag,
  throughOutages,
  type Tool,
} from "@event-sink/lib";
import { type DatabaseConfig, parseDatabase, readConfig } from "./config.ts";
import { isFinal } from "./mongo_errors.ts";
import { type Collections, openCollections } from "./queue/collections.ts";

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
  /** Those of the queue. */
  collections: Collections;
}

/**
 * Connects, and waits while MongoDB is away. The configuration file of the default path need not exist.
 *
 * @param timeout seconds to wait for MongoDB; without, for ever
 * @throws {UsageError} when the file cannot be used
 * @throws when MongoDB refuses this client, or cannot be reached in time
 */
export async function openDatabase(
  { flags, signal, log }: Pick<Tool<typeof databaseFlags>, "flags" | "signal" | "log">,
  timeout?: number,
): Promise<Database> {
  const config = await readConfig(flags.config, parseDatabase).catch((error) => {
    if (!(error.cause instanceof Deno.errors.NotFound) || flags.config !== DEFAULT_FILE) {
      throw error;
    }
    return parseDatabase("{}");
  });
  const url = flags.mongoUrl || config.url || mongoUrlFlag.default;
  if (timeout === undefined) return await open(url, config, { signal, log });
  const expired = AbortSignal.timeout(timeout * 1000);
  try {
    return await open(url, config, { signal: AbortSignal.any([signal, expired]), log });
  } catch (error) {
    if (error !== expired.reason) throw error;
    throw new Error(`Cannot reach ${nameOf(url)} within ${timeout} s; see --mongo-url`);
  }
}

async function open(
  url: string,
  { name, results }: DatabaseConfig,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<Database> {
  await using stack = new AsyncDisposableStack();
  const mongo = stack.use(await connectMongo({ url, signal, log }));
  const db = mongo.client.db(name);
  const collections = await throughOutages(
    () => openCollections(db, results),
    { signal, log, isFinal },
  );
  const owned = stack.move();
  return { db, collections, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
