/**
 * A connection to MongoDB.
 * @module
 */
import { Socket } from "node:net";
import type { MongoClient, MongoServerSelectionError, ServerDescription } from "mongodb";
import { UsageError } from "./flags.ts";
import { watch } from "./health.ts";
import type { Log } from "./log.ts";
import { gauge } from "./metrics.ts";
import { readTlsFiles, tlsFailure } from "./tls.ts";
import { nameOf } from "./url.ts";
import { backoff, pause, within } from "./wait.ts";

/** Longest time that saying goodbye to a server that hangs may take, in milliseconds. */
const CLOSE_LIMIT = 1000;

/** A connected client. Dispose it to close it. */
export interface Mongo extends AsyncDisposable {
  /** The official driver's client. */
  readonly client: MongoClient;
  /** The URL without its password, for messages. */
  readonly name: string;
}

/**
 * Connects, and keeps trying while MongoDB is away.
 *
 * Writes are acknowledged when a majority has them in its journal: what a tool acknowledges to the broker must outlive a crash.
 *
 * @throws when the URL, the host's name or the credentials are wrong, which no further attempt changes
 */
export async function connectMongo(
  { url, signal, log }: { url: string; signal: AbortSignal; log: Log },
): Promise<Mongo> {
  // The driver takes longer to load than everything else together; tools without MongoDB do not wait for it.
  const { MongoClient } = await import("mongodb");
  failLateWrites();
  const name = nameOf(url);
  let client: MongoClient;
  try {
    const { tlsCAFile: ca, tlsCertificateKeyFile: own, passphrase } = new MongoClient(url).options;
    client = new MongoClient(url, {
      appName: "event-sink",
      writeConcern: { w: "majority", journal: true },
      serverSelectionTimeoutMS: 2000,
      // A server that hangs is one that is away; by default the driver would wait for ever.
      connectTimeoutMS: 5000,
      socketTimeoutMS: 20_000,
      ...await readTlsFiles({ ca, cert: own, key: own, passphrase }),
    });
  } catch (error) {
    throw new UsageError(`Cannot use the MongoDB URL ${name}: ${(error as Error).message}`);
  }
  const ping = (timeoutMS: number) => client.db("admin").command({ ping: 1 }, { timeoutMS });
  let connected = false;
  let available = false;
  using measured = new DisposableStack();
  measured.use(gauge(
    "event_sink_store_available",
    "1 when MongoDB answered the last time it was asked",
    () => available ? 1 : 0,
    { db_system_name: "mongodb", server_address: name },
  ));
  measured.use(watch({
    name,
    trouble: () => connected ? undefined : `${name}: it is not connected yet`,
    async probe() {
      available = await ping(4000).then(() => true, () => false);
      if (!available) throw new Error("it does not answer a ping");
    },
  }));
  for (let attempt = 0;; attempt++) {
    try {
      await client.connect();
      await ping(5000);
      connected = available = true;
      break;
    } catch (error) {
      if (signal.aborted) await client.close();
      signal.throwIfAborted();
      const { message, code, reason } = error as MongoServerSelectionError;
      // https://www.mongodb.com/docs/manual/reference/error-codes/: 18 AuthenticationFailed
      if (code === 18) throw new Error(`Cannot connect: ${name} refuses this user and password`);
      if (error instanceof Deno.errors.NotCapable) throw error;
      // Of mongodb+srv:// alone, which names no server.
      if (/querySrv ENOTFOUND/.test(message)) {
        throw new Error(`Cannot connect: unknown host in ${name}`);
      }
      const servers = [...reason?.servers.values() ?? []];
      const final = await Promise.all(servers.map((server) => finalReason(server, client)));
      if (final.length > 0 && final.every((why) => why)) {
        throw new Error(`Cannot connect: ${final.join("; ")}`);
      }
      if (attempt === 0) {
        const why = servers.length < 2 ? message : servers
          .map(({ address, error }) => `${address}: ${error?.message ?? "no answer"}`).join("; ");
        log.warn(
          `Cannot connect: ${name}: ${why}. Waiting for MongoDB; start one with: deno task up`,
        );
      }
    }
    await pause(1000, signal);
  }
  log.debug(`Connected to ${name}`);
  const serving = measured.move();
  return {
    client,
    name,
    async [Symbol.asyncDispose]() {
      serving.dispose();
      await within(CLOSE_LIMIT, client.close());
    },
  };
}

/** Why a server is of no use, where no further attempt changes it. */
async function finalReason(
  { error, hostAddress: { host, port } }: ServerDescription,
  { options: { tls } }: MongoClient,
): Promise<string | undefined> {
  const cause = error?.cause as Error & { code?: string } | undefined;
  const url = `mongodb://${host?.includes(":") ? `[${host}]` : host}:${port}`;
  if (cause?.code === "ENOTFOUND") return `unknown host in ${url}`;
  const failure = cause && tlsFailure(cause, "tlsCAFile");
  if (failure) return `${url}: ${failure}`;
  if (!host || cause?.code === "ECONNREFUSED") return;
  // With TLS at a port without, or the other way round, there is no answer: is there one the other way?
  const { MongoClient } = await import("mongodb");
  const options = { tls: !tls, tlsAllowInvalidCertificates: !tls, directConnection: true };
  const other = new MongoClient(url, { ...options, serverSelectionTimeoutMS: 2000 });
  try {
    await other.connect();
    return tls
      ? `${url}: no TLS is spoken at this port: it wants a URL without tls=true`
      : `${url}: TLS is spoken at this port: it wants tls=true in the URL`;
  } catch {
    return; // an outage
  } finally {
    await other.close();
  }
}

/** How to outlast an outage. */
export interface OutageOptions {
  /** Gives up waiting (never). */
  signal?: AbortSignal;
  /** Where to say that MongoDB is away, and that it is back (nowhere). */
  log?: Pick<Log, "debug" | "info" | "warn">;
  /** What cannot be done meanwhile, for messages (`use MongoDB`). */
  doing?: string;
  /** Longest wait between two attempts, in milliseconds (5000). */
  longest?: number;
  /** Whether an error is no outage, but one that no repetition changes; those about credentials always are. */
  isFinal?: (error: unknown) => boolean;
}

/**
 * Repeats an operation until it succeeds: MongoDB may be away for a while.
 *
 * @throws what no repetition changes, and the signal's reason
 */
export async function throughOutages<T>(
  operation: () => Promise<T>,
  { signal, log, doing = "use MongoDB", longest, isFinal = () => false }: OutageOptions,
): Promise<T> {
  for (let failures = 0;;) {
    try {
      const result = await operation();
      if (failures > 0) log?.info("MongoDB is back");
      return result;
    } catch (error) {
      if (isFinal(error)) throw error;
      const { message, code } = error as Error & { code?: number };
      const text = `Cannot ${doing}: ${message}`;
      // https://www.mongodb.com/docs/manual/reference/error-codes/: 13 Unauthorized, 18 AuthenticationFailed
      if (code === 13 || code === 18) throw new Error(text);
      if (failures === 0 && !signal?.aborted) log?.warn(`${text}. Waiting until it can be done`);
      else log?.debug(text);
      await pause(backoff(++failures, { longest }), signal);
    }
  }
}

let failing = false;

/**
 * After a write() that returned false the driver (7.9) waits for 'drain' or 'error'. When the server has ended the connection and the
 * driver is not told yet, neither comes, and the operation would never end: here there is an 'error'.
 */
export function failLateWrites(): void {
  if (failing) return;
  failing = true;
  const { destroy } = Socket.prototype;
  // What write() calls then, with the reason; a socket that is destroyed already keeps that to itself.
  Socket.prototype.destroy = function (error) {
    if (error && this.destroyed) {
      queueMicrotask(() => {
        if (this.listenerCount("error") > 0) this.emit("error", error);
      });
    }
    return destroy.call(this, error);
  };
}
