/**
 * What the systems under trial run on: broker and store, a cable to each for every tool, and the processes.
 * @module
 */
import amqplib, { type Channel } from "amqplib";
import { MongoClient } from "mongodb";
import { type Cable, layCable, type Running } from "../lib/testing.ts";
import { type ChannelErrors, channelErrors } from "./channel_error.ts";
import { type Part, startPart } from "./part.ts";
import type { Servers } from "./servers.ts";

/** Most memory that a tool may have, in bytes. */
const MOST_MEMORY = 400 * 2 ** 20;

/** What every system gets. */
export interface World extends AsyncDisposable {
  /** A directory for files. */
  readonly directory: string;
  /** The store, without a cable. */
  readonly mongo: MongoClient;
  readonly parts: Part[];
  /** Processes that end by themselves, to kill and stop while they run. */
  readonly transient: Map<string, Transient>;
  readonly cables: Map<string, Cable & { errors?: ChannelErrors }>;
  /** URL of the broker by a cable of its own. */
  amqpUrl(tool: string): string;
  /** URL of the store by a cable of its own. */
  mongoUrl(tool: string): string;
  /** URL of anything else by a cable of its own. */
  cableTo(url: string, name: string): string;
  /** Starts a process that is always to run. */
  start(name: string, spawn: () => Running): Part;
  /** Uses a connection to the broker, without a cable. */
  onBroker<T>(use: (channel: Channel) => Promise<T>): Promise<T>;
  /** Notes what must not happen. */
  violated: (what: string) => void;
}

/** A process that ends by itself. */
export interface Transient {
  kill(): void;
  /** Stops it for so many milliseconds. */
  stop(ms: number): Promise<void>;
}

/** A system to try. */
export interface Setup {
  name: string;
  /** Its queues that tools consume, with the number of consumers. */
  consumers: Record<string, number>;
  /** Where nothing may end. */
  deadLetters: string[];
  exchanges: string[];
  /** Starts its tools. */
  start(world: World): System | Promise<System>;
}

/** A system that runs. */
export interface System {
  /** Puts load on it until the signal aborts; resolves when the last of it has gone in or failed. */
  load(signal: AbortSignal): Promise<void>;
  /** Puts something in, as often as it takes, and resolves when it has come out. */
  probe(signal: AbortSignal): Promise<void>;
  /** How much has come out. */
  progress(): Promise<number>;
  /** What is missing and what is too much, of all that was put in so far; load has stopped. */
  check(): Promise<Account>;
}

/** What went in, and what came of it. */
export interface Account {
  /** What was put in, and was reported to be in. */
  accepted: number;
  /** In, and not out (yet). */
  missing: string[];
  /** Out more than once, or never put in. */
  excess: string[];
}

/** Lays cables to the servers and keeps account of the processes. */
export async function createWorld(
  servers: Servers,
  violated: World["violated"],
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "chaos-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const parts: Part[] = [...servers.parts];
  const cables: World["cables"] = new Map();
  // A server that hangs or is away costs a second, not the trial.
  const mongo = new MongoClient(servers.mongoUrl, {
    serverSelectionTimeoutMS: 1000,
    connectTimeoutMS: 1000,
    socketTimeoutMS: 10_000,
  });
  stack.defer(() => mongo.close());
  const owned = stack.move();

  function cableTo(url: string, name: string, errors?: ChannelErrors): string {
    const cable = owned.use(layCable(url, errors?.passage));
    cables.set(name, Object.assign(cable, { errors }));
    return cable.url;
  }
  return {
    directory,
    mongo,
    parts,
    transient: new Map(),
    cables,
    violated,
    cableTo,
    amqpUrl: (tool) => cableTo(servers.amqpUrl, `${tool} to broker`, channelErrors()),
    mongoUrl: (tool) => cableTo(servers.mongoUrl, `${tool} to store`),
    start(name, spawn) {
      const part = owned.use(startPart({ name, spawn, most: MOST_MEMORY, violated }));
      parts.push(part);
      return part;
    },
    onBroker: (use) => onBroker(servers.amqpUrl, use),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Uses a connection to a broker for something short. */
export async function onBroker<T>(url: string, use: (channel: Channel) => Promise<T>): Promise<T> {
  const connection = await amqplib.connect(url, { timeout: 5000 });
  const broken = new Promise<never>((_, reject) => {
    connection.on("error", reject);
    connection.on("close", () => reject(new Error("the connection was closed")));
  });
  broken.catch(() => {});
  async function work() {
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {}); // the call that caused it fails too
    return await use(channel);
  }
  try {
    return await Promise.race([work(), broken]);
  } finally {
    connection.close().catch(() => {}); // broken already
  }
}
