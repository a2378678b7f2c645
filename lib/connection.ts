/**
 * One connection to the broker, to any of its nodes, that recovers, and the decision what is worth another attempt.
 * @module
 */
import type { Socket } from "node:net";
import amqplib, { type Channel, type ChannelModel, type ConfirmChannel } from "amqplib";
import { surviveDeepHeaders } from "./deep_headers.ts";
import { UsageError } from "./flags.ts";
import type { Log } from "./log.ts";
import { createStopwatch, type Stopwatch } from "./metrics.ts";
import { readTlsFiles, takesTls, tlsFailure } from "./tls.ts";
import { outsideSpans } from "./trace.ts";
import { addressesOf, nameOf } from "./url.ts";
import { backoff, pause, within } from "./wait.ts";

/** How to connect. */
export interface ConnectionOptions {
  /** AMQP URL, of one node or several. */
  url: string;
  /** Gives up the first connection. */
  signal: AbortSignal;
  /** Where to say what is being waited for. */
  log: Log;
  /** Milliseconds after which a first connection is given up; never by default. */
  timeout?: number;
  /** The broker's connections that are down, so that an outage is told once, not once for each of them. */
  down: Set<unknown>;
  /** Whether there was a connection to the broker before: what is a mistake in the URL at first is an outage then. */
  known: boolean;
}

/** A connection that recovers. */
export interface Connection {
  /** Why it cannot be used at the moment: there is no connection, or publishers are blocked. */
  readonly trouble: string | undefined;
  /** Why publishers are blocked (`connection.blocked`), while they are. */
  readonly blocked: string | undefined;
  /** Why the connection was given up, once it was. */
  readonly failure: Error | undefined;
  /** For how many seconds publishers were blocked, and how often the connection was made anew. */
  measured(): { blockedFor: number; reconnections: number };
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
 * Connects, and keeps connecting: tools may start before the broker, and outlive it. Of several nodes each attempt tries all, in random
 * order, until one answers.
 *
 * Before the first connection it is an error at once when a node refuses user, password or virtual host (they are the cluster's, not the
 * node's), or when each fails in a way that no further attempt can change: an unknown host, a TLS failure. Afterwards only refused
 * credentials are, by all nodes.
 *
 * @throws when the broker refuses, or does not answer within `timeout`
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  options.signal.throwIfAborted();
  const addresses = addressesOf(options.url);
  // A certificate that cannot be read is a mistake now, and an outage when it is read again for a later connection.
  if (!options.known) { for (const address of addresses) await tlsOptions(address); }
  const closing = new AbortController();
  const state: State = {
    ...{ ...options, addresses, closing, gaveUp: false, online: offline() },
    blockedTime: createStopwatch(),
    reconnections: 0,
  };
  keepConnected(state);
  await firstConnection(state);

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
    measured: () => ({ blockedFor: state.blockedTime.seconds, reconnections: state.reconnections }),
    createChannel: () => opened((model) => model.createChannel()),
    createConfirmChannel: () => opened((model) => model.createConfirmChannel()),
    async close() {
      state.down.delete(state);
      closing.abort();
      state.online.reject(new Error("the connection was closed"));
      // amqplib's close() never answers when the connection breaks meanwhile, and throws when it has before.
      const closed = state.model?.close().catch(() => {});
      await within(CLOSE_LIMIT, Promise.race([closed, state.lost]));
    },
  };
}

/** What is known of a connection. */
interface State extends ConnectionOptions {
  /** The broker's nodes. */
  addresses: string[];
  /** Ends it all. */
  closing: AbortController;
  /** Why there is no connection at the moment. */
  failure?: Error;
  gaveUp: boolean;
  blocked?: string;
  blockedTime: Stopwatch;
  reconnections: number;
  /** Resolves with the connection as soon as there is one. */
  online: PromiseWithResolvers<ChannelModel>;
  /** The latest connection. */
  model?: ChannelModel;
  /** Resolves when that has ended. */
  lost?: Promise<unknown>;
}

/** Connects again and again, until it is closed or no further attempt is of use. */
async function keepConnected(state: State): Promise<void> {
  const { signal } = state.closing;
  for (let failures = 0; !signal.aborted && !state.gaveUp;) {
    try {
      const { model, name } = await connectToAny(state);
      failures = 0;
      observe(model, name, state);
      await state.lost;
    } catch (error) {
      if (!signal.aborted) failed(error as AggregateError, state);
    }
    await pause(backoff(++failures, { first: 200 }), signal).catch(() => {});
  }
}

/** @throws {AggregateError} when no node can be connected to, with an error for each */
async function connectToAny(
  { addresses, timeout = ATTEMPT_LIMIT, closing, known }: State,
): Promise<{ model: ChannelModel; name: string }> {
  // Those that hang leave time for others.
  const limit = Math.min(timeout, ATTEMPT_LIMIT) / Math.min(addresses.length, 3);
  const errors: Error[] = [];
  const order = addresses.map((_, index) => [Math.random(), index] as const).sort();
  for (const [, index] of order) {
    closing.signal.throwIfAborted();
    const address = addresses[index]!;
    const name = nameOf(address);
    try {
      const options = { timeout: limit, noDelay: true, keepAlive: true };
      const tls = await tlsOptions(address);
      return { model: await amqplib.connect(withHeartbeat(address), { ...options, ...tls }), name };
    } catch (error) {
      const cause = known ? error as Error : await explained(error as Error, address);
      errors[index] = new Error(describe(cause, name), { cause });
    }
  }
  throw new AggregateError(errors, errors.map(({ message }) => message).join("; "));
}

function observe(model: ChannelModel, name: string, state: State): void {
  const { addresses, closing, down, log } = state;
  model.on("error", () => {}); // "close" brings the same error
  if (closing.signal.aborted) return void model.close().catch(() => {});
  down.delete(state);
  const news = addresses.length > 1 || state.failure && down.size === 0;
  log[news ? "info" : "debug"](`Connected to ${name}`);
  state.failure = undefined;
  if (state.model) state.reconnections++;
  state.model = model;
  state.known = true;
  coalesceWrites(socketOf(model));
  surviveDeepHeaders(model);
  model.on("blocked", (reason: string) => {
    state.blocked = reason;
    state.blockedTime.start();
    log.warn(`${name} has blocked publishers: ${reason}. Waiting until it goes on`);
  });
  model.on("unblocked", () => {
    unblocked(state);
    log.info(`${name} takes messages again`);
  });
  const lost = Promise.withResolvers<void>();
  state.lost = lost.promise;
  model.on("close", (error = new Error("Connection closed")) => {
    lost.resolve();
    if (closing.signal.aborted) return;
    state.online = offline();
    unblocked(state);
    state.failure = new Error(`Lost the connection to ${name}: ${lossOf(error)}`);
    outage(`${state.failure.message}. Reconnecting`, state);
  });
  state.online.resolve(model);
}

function unblocked(state: State): void {
  state.blockedTime.stop();
  state.blocked = undefined;
}

/** Tells why there is no connection, and gives up when that is final. */
function failed({ message, errors }: AggregateError, state: State): void {
  const { failure: before, known } = state;
  const text = `Cannot connect: ${message}`;
  const failure = state.failure = new Error(text);
  const all = (final: (error: Error) => boolean) => errors.every(({ cause }) => final(cause));
  if (!known && errors.some(({ cause }) => isRefused(cause)) || all(known ? isBarred : isFinal)) {
    state.gaveUp = true;
    state.online.reject(failure);
  } else if (!before) {
    const hint = known || errors.length > 1 ? "" : "; start one with: deno task up";
    outage(`${text}. Waiting for the broker${hint}`, state);
  } else if (before.message !== text && all(isFinal)) {
    state.log.warn(`${text}. Trying again`);
  }
}

/** Says it once, not once for each of the broker's connections. */
function outage(text: string, state: State): void {
  const { down, log } = state;
  outsideSpans(() => log[down.size === 0 ? "warn" : "debug"](text));
  down.add(state);
}

function offline(): State["online"] {
  const online = Promise.withResolvers<ChannelModel>();
  online.promise.catch(() => {}); // perhaps nobody waits for it
  return online;
}

/** Waits for it, as long as the caller wants to. */
async function firstConnection(state: State): Promise<void> {
  const { url, timeout, signal, online } = state;
  const limit = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
  const stop = limit ? AbortSignal.any([signal, limit]) : signal;
  const abandon = () => online.reject(stop.reason);
  stop.addEventListener("abort", abandon);
  try {
    await online.promise;
  } catch (error) {
    state.closing.abort();
    state.down.delete(state);
    signal.throwIfAborted();
    if (!limit?.aborted) throw error;
    const tried = `within ${timeout! / 1000} s`;
    throw new Error(
      state.failure
        ? `${state.failure.message} (tried ${tried}); start a broker with: deno task up`
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

/** Starts a timer that ends the connection: amqplib would wait for an answer for ever. */
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

/** What an address' parameters say of TLS: https://www.rabbitmq.com/docs/uri-query-parameters */
async function tlsOptions(address: string): Promise<object> {
  const { protocol, searchParams: query, username } = new URL(address);
  if (protocol !== "amqps:") return {};
  const [ca, cert, key, passphrase, servername, mechanism] =
    "cacertfile certfile keyfile password server_name_indication auth_mechanism".split(" ")
      .map((name) => query.get(name));
  const external = mechanism ? mechanism.toLowerCase() === "external" : cert && !username;
  return {
    ...await readTlsFiles({ ca, cert, key, passphrase }),
    ...query.get("verify") === "verify_none" && { rejectUnauthorized: false },
    ...servername && { servername },
    ...external && { credentials: amqplib.credentials.external() },
  };
}

/** A server for TLS ends a connection without it, and says no more than that. */
async function explained(error: Error & { code?: string }, address: string): Promise<Error> {
  const { protocol, hostname, port } = new URL(address);
  const ended = error.code === "ECONNRESET" || error.message.startsWith("Socket closed abruptly");
  if (protocol === "amqps:" || !ended) return error;
  const tls = await takesTls(hostname.replace(/^\[|\]$/g, ""), Number(port) || 5672);
  return tls
    ? Object.assign(new Error("TLS is spoken at this port: it wants amqps://"), { code: "ERR_TLS" })
    : error;
}

/** Whether the broker refuses user and password, which is final at any time. */
function isBarred({ message }: Error): boolean {
  return /^Handshake terminated by server: 403|SASL mechanism/.test(message);
}

/** Whether it refuses those, or the virtual host. */
function isRefused(error: Error): boolean {
  return isBarred(error) || error.message.includes("got <ConnectionClose");
}

/** Whether an error is a mistake in the URL, when it comes before the first connection; later it is an outage. */
function isFinal(error: Error & { code?: string }): boolean {
  return isRefused(error) || error instanceof UsageError || error.code === "ENOTFOUND" ||
    tlsFailure(error, "") !== undefined;
}

function describe(error: Error & { code?: string; errors?: Error[] }, name: string): string {
  if (error.message.startsWith("Handshake terminated by server: 403")) {
    return error.message.includes("EXTERNAL")
      ? `${name} refuses the client's certificate as a login: there is no user of its name, or none was given (certfile)`
      : `${name} refuses this user and password`;
  }
  if (error.message.includes("SASL mechanism EXTERNAL")) {
    return `${name} takes no certificate as a login: give a user in the URL, or enable rabbitmq_auth_mechanism_ssl`;
  }
  if (error.message.includes("got <ConnectionClose")) {
    // AMQP's answer to connection.open; amqplib does not keep its text.
    const vhost = decodeURIComponent(new URL(name).pathname.slice(1)) || "/";
    return `${name} refuses the virtual host '${vhost}': it does not exist, or this user has no access to it`;
  }
  if (error.code === "ENOTFOUND") return `unknown host in ${name}`;
  if (error.code === "ECONNREFUSED") return `nothing listens at ${name}`;
  const messages = error.errors?.map((each) => each.message) ?? [error.message];
  return `${name}: ${tlsFailure(error, "cacertfile") ?? messages.join(", ")}`;
}

function lossOf({ message }: Error): string {
  return message === "Heartbeat timeout" ? "no heartbeat came in time" : message;
}
