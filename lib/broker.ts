/**
 * A connection to the broker that recovers: amqplib's recovery, plus the decision what is worth another attempt.
 * @module
 */
import type { Writable } from "node:stream";
import amqplib, { type Channel, type ChannelModel, type ConfirmChannel } from "amqplib";
import type { Log } from "./log.ts";
import { within } from "./tool.ts";
import { withoutPassword } from "./url.ts";

export type { Channel };

/** A connection that recovers. Dispose it to close it. */
export interface Broker extends AsyncDisposable {
  /** The URL without its password, for messages. */
  readonly name: string;
  /** What there is to say to the user. */
  readonly log: Log;
  /** Whether the broker has blocked publishers because it is short of memory or disk (`connection.blocked`). */
  readonly blocked: boolean;
  /** Why the connection was given up, once it was. */
  readonly failure: Error | undefined;
  /** Opens a channel as soon as there is a connection; rejects once the connection was given up. */
  createChannel(): Promise<Channel>;
  /** The same in confirm mode. */
  createConfirmChannel(): Promise<ConfirmChannel>;
}

/** How to connect. */
export interface ConnectOptions {
  /** AMQP URL; its query parameters are amqplib's (`heartbeat`, `frameMax`, ...). */
  url: string;
  /** Gives up the first connection. */
  signal: AbortSignal;
  /** Where to say what is being waited for. */
  log: Log;
  /** Milliseconds after which a first connection is given up; never by default. */
  timeout?: number;
}

/** Longest time that closing a channel or a connection may take, in milliseconds. */
export const CLOSE_LIMIT = 2000;

/** Longest time that one attempt to connect may take, in milliseconds. */
const ATTEMPT_LIMIT = 10_000;

/**
 * Connects, and keeps connecting: tools may start before the broker, and outlive it.
 *
 * What no further attempt can change (credentials refused, unknown virtual host, unknown host at the first attempt, a
 * TLS failure) is an error at once.
 *
 * @throws when the broker refuses, or does not answer within `timeout`
 */
export async function connectBroker(options: ConnectOptions): Promise<Broker> {
  const { url, log, timeout } = options;
  options.signal.throwIfAborted();
  const name = withoutPassword(url).replace("***@", "");
  let failure: Error | undefined;
  let connected = false;
  let gaveUp = false;
  let blocked = false;
  let lost: Promise<unknown> = Promise.resolve();

  const connection = await amqplib.connect(url, {
    timeout: Math.min(timeout ?? ATTEMPT_LIMIT, ATTEMPT_LIMIT),
    noDelay: true,
    keepAlive: true,
    recovery: {
      waitForConnect: false,
      calculateDelay(attempt) {
        // The one place where amqplib lets a recovery end for a reason.
        if (failure && isFinal(failure, connected)) throw failure;
        return Math.min(5000, 100 * 2 ** attempt) * (0.5 + Math.random() / 2);
      },
    },
  });
  connection.on("connect", (model: ChannelModel) => {
    if (failure) log.info(`Connected to ${name}`);
    else log.debug(`Connected to ${name}`);
    failure = undefined;
    connected = true;
    blocked = false;
    model.on("error", () => {}); // "disconnect" brings the same error
    coalesceWrites((model.connection as unknown as { stream: Writable }).stream);
    lost = new Promise((resolve) => model.on("close", resolve));
  });
  connection.on("connect-failed", (error: Error) => {
    const reason = describe(error, name);
    if (!failure && !isFinal(error, connected)) {
      const hint = connected ? "" : "; start one with: deno task up";
      log.warn(`Cannot connect: ${reason}. Waiting for the broker${hint}`);
    }
    failure = new Error(`Cannot connect: ${reason}`, { cause: error });
  });
  connection.on("disconnect", (error: Error) => {
    failure = new Error(`Lost the connection to ${name}: ${error.message}`);
    log.warn(`${failure.message}. Reconnecting`);
  });
  connection.on("reconnect-failed", () => gaveUp = true);
  connection.on("blocked", (reason: string) => {
    blocked = true;
    log.warn(`${name} has blocked publishers: ${reason}. Waiting until it goes on`);
  });
  connection.on("unblocked", () => {
    blocked = false;
    log.info(`${name} takes messages again`);
  });
  connection.on("error", () => {}); // "disconnect" brings the same error

  // amqplib's close() never answers when the connection breaks meanwhile.
  const close = () => within(CLOSE_LIMIT, Promise.race([connection.close(), lost]));
  let timedOut = false;
  const timer = timeout === undefined ? undefined : setTimeout(() => {
    timedOut = true;
    connection.close();
  }, timeout);
  options.signal.addEventListener("abort", abandon);
  function abandon() {
    if (!connected) connection.close();
  }
  try {
    await connection.waitForConnect();
  } catch (error) {
    options.signal.throwIfAborted();
    if (!timedOut) throw failure ?? error;
    const within = `within ${timeout! / 1000} s`;
    throw new Error(
      failure
        ? `${failure.message} (tried ${within}); start a broker with: deno task up`
        : `Cannot connect: no answer from ${name} ${within}`,
    );
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener("abort", abandon);
  }

  return {
    name,
    log,
    get blocked() {
      return blocked;
    },
    get failure() {
      return gaveUp ? failure : undefined;
    },
    createChannel: () => connection.createChannel(),
    createConfirmChannel: () => connection.createConfirmChannel() as Promise<ConfirmChannel>,
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

/**
 * amqplib writes each method by itself, a system call for it here and a packet for the broker: those of one turn of the event loop leave
 * together.
 */
function coalesceWrites(stream: Writable): void {
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  stream.write = (...args: unknown[]) => {
    if (stream.writableCorked === 0) {
      stream.cork();
      queueMicrotask(() => stream.uncork());
    }
    return write(...args);
  };
}

/** The broker's own words, without amqplib's frame around them. */
export function brokerText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /with message "(.*)"$/s.exec(message)?.[1] ?? message;
}

function isFinal(error: Error, connected: boolean): boolean {
  const cause = (error.cause ?? error) as Error & { code?: string };
  if (
    /^Handshake terminated by server: 403|got <ConnectionClose|SASL mechanism/.test(cause.message)
  ) return true;
  if (/^ERR_(SSL|TLS)|CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(cause.code ?? "")) return true;
  // Before the first connection a name that does not resolve is a typing error, later it is an outage.
  return cause.code === "ENOTFOUND" && !connected;
}

function describe(error: Error & { code?: string; errors?: Error[] }, name: string): string {
  if (error.message.startsWith("Handshake terminated by server: 403")) {
    return `${name} refuses this user and password`;
  }
  if (error.message.includes("got <ConnectionClose")) {
    // AMQP's answer to connection.open; amqplib does not keep its text.
    const vhost = decodeURIComponent(new URL(name).pathname.slice(1)) || "/";
    return `${name} refuses the virtual host '${vhost}': it does not exist, or this user has no access to it`;
  }
  if (error.code === "ENOTFOUND") return `unknown host in ${name}`;
  if (error.code === "ECONNREFUSED") return `nothing listens at ${name}`;
  const messages = error.errors?.map((each) => each.message) ?? [error.message];
  return `${name}: ${messages.join(", ")}`;
}
