/**
 * The config.json of the tools, in the form that existing installations have.
 * @module
 */
import { isIPv6 } from "node:net";
import { UsageError } from "@event-sink/lib";
import * as v from "valibot";
import { type Curve, isKey } from "./zmq/curve.ts";

const text = v.pipe(v.string(), v.minLength(1));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const zmqType = <const T extends string[]>(...types: T) =>
  v.pipe(
    v.string(),
    v.transform((type) => type.replace(/^zmq\./i, "").toUpperCase()),
    v.picklist(types),
  );
// The messages do not show what is there instead: it may be a secret.
const aKey = "expected a key, 40 characters of Z85";
const key = v.pipe(v.string(aKey), v.check(isKey, aKey));

const zmqInput = v.object({
  uri: v.pipe(v.string(), v.regex(/^(tcp|ipc):\/\/.+$/, "expected tcp://host:port or ipc://path")),
  type: v.optional(zmqType("REP", "PULL", "SUB"), "REP"),
});
const amqpInput = v.object({
  url: v.pipe(v.string(), v.regex(/^amqps?:\/\/./, "expected amqp://user:password@host:port")),
  routing_key: v.optional(v.string(), ""),
  exchange_type: v.optional(
    v.picklist(["direct", "fanout", "topic", "headers"]),
    "direct",
  ),
  queue_name: text,
  bindings: v.optional(v.array(text), []),
});
const feeder = v.variant("handler", [
  v.object({ namespace: text, handler: v.literal("ZMQInput"), config: zmqInput }),
  v.object({ namespace: text, handler: v.literal("AMQPInput"), config: amqpInput }),
]);
const database = v.object({
  protocol: v.optional(v.literal("mongodb"), "mongodb"),
  /** This project's own, in place of host and port. */
  url: v.optional(v.pipe(
    v.string(),
    v.regex(/^mongodb(\+srv)?:\/\/[^/]/, "expected mongodb://user:password@host:port"),
  )),
  host: v.optional(text, "127.0.0.1"),
  port: v.optional(port, 27_017),
  username: v.optional(text),
  password: v.optional(v.string("expected a text"), ""),
  database: v.optional(text, "eventreactor"),
  task_collection: v.optional(text, "task_collection"),
});
/** `tasks` is this project's own name for the section `celery`. */
const databaseFile = v.object({ celery: v.optional(database), tasks: v.optional(database) });
const levels = ["debug", "info", "warning", "error"] as const;

const file = v.object({
  feeds: v.optional(
    v.object({ aggregator: v.optional(v.unknown()), feeders: v.optional(v.array(feeder), []) }),
    { feeders: [] },
  ),
  outputs: v.pipe(
    v.array(v.object({
      handler: v.literal("zeromq"),
      config: v.object({
        protocol: v.optional(v.literal("tcp"), "tcp"),
        listen_address: v.optional(text, "127.0.0.1"),
        port,
        type: v.optional(zmqType("PUB"), "PUB"),
      }),
    })),
    v.minLength(1, "expected at least one output"),
  ),
  aggregator: v.optional(v.object({
    config: v.object({
      protocol: v.optional(v.literal("tcp"), "tcp"),
      listen_address: v.optional(text, "127.0.0.1"),
      port,
      type: v.optional(zmqType("PULL"), "PULL"),
    }),
  })),
  logging: v.optional(v.object({
    loglevel: v.optional(v.pipe(
      v.string(),
      v.transform((level) =>
        level.toLowerCase().replace(/^warn$/, "warning").replace(/^critical$/, "error")
      ),
      v.picklist(levels),
    )),
  })),
  ...databaseFile.entries,
  journal: v.optional(v.object({ keep: v.optional(v.pipe(v.number(), v.minValue(1))) })),
  curve: v.optional(v.object({
    secret_key: key,
    client_keys: v.optional(v.pipe(v.array(key), v.minLength(1, "expected at least one key"))),
  })),
});

/** An input of ZeroMQ. */
export type ZmqFeed = { namespace: string } & v.InferOutput<typeof zmqInput>;
/** An input of AMQP. */
export type AmqpFeed = { namespace: string } & v.InferOutput<typeof amqpInput>;

/** The database of the journal, the tasks and the results. */
export interface DatabaseConfig {
  /** MongoDB; undefined where the file does not name one. */
  url: string | undefined;
  name: string;
  /** The collection of the results. */
  results: string;
}

/** The router's configuration. */
export interface RouterConfig {
  /** The address of the aggregator, to which events are pushed; undefined without one. */
  pull: string | undefined;
  /** Inputs of ZeroMQ. */
  zmq: ZmqFeed[];
  /** Inputs of AMQP. */
  amqp: AmqpFeed[];
  /** Addresses on which events are published. */
  publish: string[];
  database: DatabaseConfig;
  /** Seconds that the journal keeps events. */
  keep: number | undefined;
  logLevel: typeof levels[number] | undefined;
  curve: Curve | undefined;
  /** Remarks on the file for the log, such as a key that is ignored. */
  notes: string[];
}

/**
 * Reads a configuration file.
 *
 * @throws {UsageError} when it cannot be used, naming the file and the key; when it cannot be read, `cause` says why
 */
export async function readConfig<T>(path: string, parse: (json: string) => T): Promise<T> {
  try {
    return parse(await Deno.readTextFile(path));
  } catch (cause) {
    const { message } = cause as Error;
    throw new UsageError(`Cannot use the configuration '${path}': ${message}`, { cause });
  }
}

/**
 * The database of a config.json, of which the rest may be missing or wrong.
 *
 * @throws {TypeError} when it cannot be used, naming the key
 */
export function parseDatabase(json: string): DatabaseConfig {
  return databaseOf(check(databaseFile, parseJson(json)));
}

/**
 * The router's view of a config.json.
 *
 * @throws {TypeError} when it cannot be used, naming the key
 */
export function parseConfig(json: string): RouterConfig {
  const { input, notes } = withoutDisabled(parseJson(json));
  const output = check(file, input);
  const { feeds, outputs, aggregator, logging, journal, curve } = output;
  unknownKeys(input, output, "", notes);
  const address = (c: { listen_address: string; port: number }) =>
    `tcp://${c.listen_address}:${c.port}`;
  const { feeders } = feeds;
  return {
    pull: aggregator && address(aggregator.config),
    zmq: feeders.flatMap(({ namespace, handler, config }) =>
      handler === "ZMQInput" ? { namespace, ...config } : []
    ),
    amqp: feeders.flatMap(({ namespace, handler, config }) =>
      handler === "AMQPInput" ? { namespace, ...config } : []
    ),
    publish: outputs.map(({ config }) => address(config)),
    database: databaseOf(output),
    keep: journal?.keep,
    logLevel: logging?.loglevel,
    curve: curve && { secretKey: curve.secret_key, clientKeys: curve.client_keys },
    notes,
  };
}

function databaseOf({ tasks, celery }: v.InferOutput<typeof databaseFile>): DatabaseConfig {
  const section = tasks ?? celery;
  const { database: name, task_collection: results } = section ?? v.parse(database, {});
  return { url: section && urlOf(section), name, results };
}

function urlOf({ url, host, port, username, password }: v.InferOutput<typeof database>): string {
  const user = username && `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`;
  return url ?? `mongodb://${user ?? ""}${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

function check<S extends v.GenericSchema>(schema: S, input: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, input);
  if (success) return output;
  throw new TypeError(`${v.getDotPath(issues[0]) ?? "the file"}: ${issues[0].message}`);
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const { message } = error as Error;
    // V8 shows 10 characters before and after an unexpected one, and a password may be among them: the line instead.
    const [, what, shown] = message.match(/^(.*?), (?:\.{3})?"(.*)"(?:\.{3})? is not/s) ?? [];
    if (!shown) throw new TypeError(`it is not JSON: ${message}`);
    const line = json.slice(0, json.indexOf(shown) + 10).split("\n").length;
    throw new TypeError(`it is not JSON: ${what} in line ${line}`);
  }
}

/** Takes out the feeders that are switched off: they may be of a kind that is not known here. */
function withoutDisabled(whole: unknown): { input: unknown; notes: string[] } {
  const input = whole as { feeds?: { feeders?: unknown } } | null;
  const feeders = input?.feeds?.feeders;
  if (!Array.isArray(feeders)) return { input, notes: [] };
  const isOn = (each: Record<string, unknown> | null) =>
    each?.disabled !== true && (each?.config as Record<string, unknown>)?.disabled !== true;
  const notes = feeders.flatMap((each, index) =>
    isOn(each) ? [] : [`feeds.feeders.${index} (${each?.handler}) is disabled`]
  );
  return { input: { ...input, feeds: { ...input!.feeds, feeders: feeders.filter(isOn) } }, notes };
}

/** Notes the keys that validation has left out, since it does not know them. */
function unknownKeys(input: unknown, output: unknown, path: string, notes: string[]) {
  if (typeof input !== "object" || input === null) return;
  for (const [name, value] of Object.entries(input)) {
    if (name === "disabled") continue;
    const known = output as Record<string, unknown>;
    if (!(name in known)) notes.push(`${path}${name} means nothing here and is ignored`);
    else unknownKeys(value, known[name], `${path}${name}.`, notes);
  }
}
