/**
 * One connection to the broker that recovers: amqplib's recovery, plus the decision what is worth another attempt.
 * @module
 */
import type { Socket } from "node:net";
import amqplib, {
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  type RecoveringChannelModel,
} from "amqplib";
import type { Log } from "./log.ts";
import { nameOf } from "./url.ts";
import { backoff, within } from "./wait.ts";

/** How to connect. */
export interface ConnectionOptions {
  /** AMQP URL; its query parameters are amqplib's (`heartbeat`, `frameMax`, ...). */
  url: string;
  /** Gives up the first connection. */
  signal: AbortSignal;
  /** Where to say what is being waited for. */
  log: Log;
  /** Milliseconds after which a first connection is given up; never by default. */
  timeout?: number;
  /** The broker's connections that are down, so that an outage is told once, not once for each of them. */
  down: Set<unknown>;
}

/** A connection that recovers. */
export interface Connection {
  /** Why it cannot be used at the moment: there is no connection, or publishers are blocked. */
  readonly trouble: string | undefined;
  /** Why publishers are blocked (`connection.blocked`), while they are. */
  readonly blocked: string | undefined;
  /** Why the connection was given up, once it was. */
  readonly failure: Error | undefined;
  /** Opens a channel as soon as there is a connection; rejects once the connection was given up or closed. */
  createChannel(): Promise<Channel>;
  /** The same in confirm mode. */
  createConfirmChannel(): Promise<ConfirmChannel>;
  /** Closes it; takes {@linkcode CLOSE_LIMIT} at most. */
  close(): Promise<void>;
}

/** Longest time that closing a channel or a connection may take, in milliseconds. */
export const CLOSE_LIMIT = 2000;

/** Longest time that one attempt to connect may take, in milliseconds. */
const ATTEMPT_LIMIT = 10_000;

/** Longest time that the broker may take for an answer, in milliseconds: then the connection is made anew. */
const ANSWER_LIMIT = 15_000;

/**
 * Seconds. A connection on which nothing comes for two to three of them is given up (AMQP 0-9-1, connection.tune), so that a broker that
 * is cut off or hangs is noticed within 24 seconds. RabbitMQ's default of 60 would make it three minutes.
 */
const HEARTBEAT = 8;

/**
 * Connects, and keeps connecting: tools may start before the broker, and outlive it.
 *
 * What no further attempt can change (credentials refused, unknown virtual host or host at the first attempt, a TLS failure) is an error at
 * once.
 *
 * @throws when the broker refuses, or does not answer within `timeout`
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  const { url, timeout = ATTEMPT_LIMIT, signal, down } = options;
  signal.throwIfAborted();
  const connection = await amqplib.connect(withHeartbeat(url), {
    timeout: Math.min(timeout, ATTEMPT_LIMIT),
    noDelay: true,
    keepAlive: true,
    recovery: {
      waitForConnect: false,
      calculateDelay(attempt) {
        // Throwing here is the only way to make amqplib give up.
        const { failure, connected } = state;
        if (failure && isFinal(failure, connected)) throw failure;
        return backoff(attempt, { first: 200 });
      },
    },
  });
  const state = observe(connection, options);
  await firstConnection(connection, state, options);

  async function opened<C extends Channel>(open: (model: ChannelModel) => Promise<C>): Promise<C> {
    const model = await state.online.promise;
    const limit = limitAnswer(model);
    try {
      const channel = await open(model);
      limitAnswers(model, channel);
      return channel;
    } finally {
      clearTimeout(limit);
    }
  }
  return {
    get trouble() {
      const { failure, blocked } = state;
      return failure?.message ?? (blocked && `it has blocked publishers: ${blocked}`);
    },
    get blocked() {
      return state.blocked;
    },
    get failure() {
      return state.gaveUp ? state.failure : undefined;
    },
    createChannel: () => opened((model) => model.createChannel()),
    createConfirmChannel: () => opened((model) => model.createConfirmChannel()),
    async close() {
      down.delete(connection);
      state.online.reject(new Error("the connection was closed"));
      // amqplib's close() never answers when the connection breaks meanwhile.
      await within(CLOSE_LIMIT, Promise.race([connection.close(), state.lost]));
    },
  };
}

/** What is known of a connection. */
interface State {
  /** Whether there was ever a connection. */
  connected: boolean;
  /** Why there is none at the moment. */
  failure?: Error;
  gaveUp: boolean;
  blocked?: string;
  /** Resolves with the connection as soon as there is one. */
  online: PromiseWithResolvers<ChannelModel>;
  /** Resolves when the connection has ended. */
  lost: Promise<unknown>;
}

function observe(
  connection: RecoveringChannelModel,
  { url, log, down }: ConnectionOptions,
): State {
  const name = nameOf(url);
  const state: State = {
    connected: false,
    gaveUp: false,
    online: offline(),
    lost: Promise.resolve(),
  };
  function outage(text: string) {
    if (down.size === 0) log.warn(text);
    else log.debug(text);
    down.add(connection);
  }

  connection.on("connect", (model: ChannelModel) => {
    down.delete(connection);
    if (state.failure && down.size === 0) log.info(`Connected to ${name}`);
    else log.debug(`Connected to ${name}`);
    state.failure = state.blocked = undefined;
    state.connected = true;
    model.on("error", () => {}); // "disconnect" brings the same error
    coalesceWrites(socketOf(model));
    state.lost = new Promise((resolve) => model.on("close", resolve));
    state.online.resolve(model);
  });
  connection.on("connect-failed", (error: Error) => {
    const reason = describe(error, name);
    if (!state.failure && !isFinal(error, state.connected)) {
      const hint = state.connected ? "" : "; start one with: deno task up";
      outage(`Cannot connect: ${reason}. Waiting for the broker${hint}`);
    }
    state.failure = new Error(`Cannot connect: ${reason}`, { cause: error });
  });
  connection.on("disconnect", (error: Error) => {
    state.online = offline();
    state.blocked = undefined;
    state.failure = new Error(`Lost the connection to ${name}: ${lossOf(error)}`);
    outage(`${state.failure.message}. Reconnecting`);
  });
  connection.on("reconnect-failed", (error: Error) => {
    state.gaveUp = true;
    state.online.reject(state.failure ?? error);
  });
  connection.on("blocked", (reason: string) => {
    state.blocked = reason;
    log.warn(`${name} has blocked publishers: ${reason}. Waiting until it goes on`);
  });
  connection.on("unblocked", () => {
    state.blocked = undefined;
    log.info(`${name} takes messages again`);
  });
  connection.on("error", () => {}); // "disconnect" brings the same error
  return state;
}

function offline(): State["online"] {
  const online = Promise.withResolvers<ChannelModel>();
  online.promise.catch(() => {}); // perhaps nobody waits for it
  return online;
}

/** Waits for it, as long as the caller wants to. */
async function firstConnection(
  connection: RecoveringChannelModel,
  state: State,
  { url, timeout, signal, down }: ConnectionOptions,
): Promise<void> {
  const limit = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
  const stop = limit ? AbortSignal.any([signal, limit]) : signal;
  const abandon = () => connection.close();
  stop.addEventListener("abort", abandon);
  try {
    await connection.waitForConnect();
  } catch (error) {
    down.delete(connection);
    signal.throwIfAborted();
    const { failure } = state;
    if (!limit?.aborted) throw failure ?? error;
    const tried = `within ${timeout! / 1000} s`;
    throw new Error(
      failure
        ? `${failure.message} (tried ${tried}); start a broker with: deno task up`
        : `Cannot connect: no answer from ${nameOf(url)} ${tried}`,
    );
  } finally {
    stop.removeEventListener("abort", abandon);
  }
}

/** amqplib takes what the URL says, and else what the broker proposes. */
function withHeartbeat(url: string): string {
  if (/[?&]heartbeat=/.test(url)) return url;
  return `${url}${url.includes("?") ? "&" : "?"}heartbeat=${HEARTBEAT}`;
}

function socketOf(model: ChannelModel): Socket {
  return (model.connection as unknown as { stream: Socket }).stream;
}

/** Starts a timer that ends the connection: amqplib would wait for an answer for ever, and its recovery connects again. */
function limitAnswer(model: ChannelModel): ReturnType<typeof setTimeout> {
  const error = new Error(`no answer within ${ANSWER_LIMIT / 1000} s`);
  return setTimeout(() => socketOf(model).destroy(error), ANSWER_LIMIT);
}

/** Limits every request that has an answer, such as `queue.declare`: all of them go through this one method of amqplib's. */
function limitAnswers(model: ChannelModel, channel: Channel): void {
  type Answer = (...answer: unknown[]) => void;
  const asking = channel as unknown as {
    _rpc(method: unknown, fields: unknown, expect: unknown, answer: Answer): void;
  };
  const ask = asking._rpc.bind(channel);
  asking._rpc = (method, fields, expect, answer) => {
    const limit = limitAnswer(model);
    try {
      ask(method, fields, expect, (...given) => {
        clearTimeout(limit);
        answer(...given);
      });
    } catch (error) {
      clearTimeout(limit); // a closed channel asks nothing
      throw error;
    }
  };
}

/** amqplib writes each method separately, a system call and a packet for each. With this, those of one turn of the event loop leave together. */
function coalesceWrites(socket: Socket): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]) => {
    if (socket.writableCorked === 0) {
      socket.cork();
      queueMicrotask(() => socket.uncork());
    }
    return write(...args);
  };
}

function isFinal(error: Error, connected: boolean): boolean {
  const cause = (error.cause ?? error) as Error & { code?: string };
  if (/^Handshake terminated by server: 403|SASL mechanism/.test(cause.message)) return true;
  if (/^ERR_(SSL|TLS)|CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(cause.code ?? "")) return true;
  // Before the first connection these are mistakes in the URL, later they are outages.
  return !connected &&
    (cause.code === "ENOTFOUND" || cause.message.includes("got <ConnectionClose"));
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

function lossOf({ message }: Error): string {
  return message === "Heartbeat timeout" ? "no heartbeat came in time" : message;
}
