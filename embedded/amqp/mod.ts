/**
 * An AMQP 0-9-1 broker in this process, behaving as RabbitMQ 4.0 does, for one machine.
 *
 * ```ts
 * await using broker = await startBroker({ port: 0 });
 * const connection = await amqplib.connect(broker.url);
 * ```
 * @module
 */
import { Broker as Core, type Limits } from "./broker/broker.ts";
import { serve } from "./server/listener.ts";
import { toBytes } from "./protocol/fields.ts";
import { Store } from "./storage/store.ts";

/** Options of `startBroker()`. */
export interface BrokerOptions {
  /** Address to listen on. Any but a loopback address needs `user` and `password`. Default `127.0.0.1`, and `::1` where there is IPv6. */
  hostname?: string;
  /** TCP port, 0 for any free one. Default 5672. */
  port?: number;
  /** SQLite file for durable queues and persistent messages. Default: none, all is gone with the process. */
  file?: string;
  /** Default `guest`. */
  user?: string;
  /** Default `guest`. */
  password?: string;
  /** Names of the virtual hosts. Default `["/"]`. */
  vhosts?: readonly string[];
  /** Largest body in bytes, as RabbitMQ's `max_message_size`. Default 16777216. */
  maxMessageSize?: number;
  /** Connections at a time; further ones are closed at once. Default 4096. */
  maxConnections?: number;
  /** Bytes of messages in memory above which publishers are blocked until consumers made room. Default 1 GiB: about 1.5 million messages of 200 bytes. */
  memoryMark?: number;
  /** Milliseconds that a client has to log in, and to answer a close. Default 10000, as RabbitMQ's. */
  handshakeTimeout?: number;
  /**
   * Milliseconds after which a delivery must be acknowledged, else its channel is closed and it goes back to the queue.
   * Default 1800000, as RabbitMQ's `consumer_timeout`.
   */
  consumerTimeout?: number;
  /** Where unexpected errors go. Default stderr. */
  log?: (text: string) => void;
}

/** A running broker. Disposing it closes connections, commits and stops listening. */
export interface Broker extends AsyncDisposable {
  /** The TCP port it listens on. */
  readonly port: number;
  /** URL for clients, with user and password. */
  readonly url: string;
}

/**
 * Start a broker.
 * @returns once it accepts connections, all that `file` holds being restored.
 * @throws Error `Cannot listen on HOST:PORT: ...`, `Cannot open FILE: ...`
 */
// deno-lint-ignore require-await -- async, so that every failure is a rejection
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const { hostname = ipv4, port = 5672, user = "guest", password = "guest" } = options;
  const open = ["", "guest"];
  if (!isLoopback(hostname) && (open.includes(user) || open.includes(password))) {
    throw new Error(
      `Cannot listen on ${hostname}:${port}: an address that is not loopback needs a user and a password of your own`,
    );
  }
  const listeners = options.hostname === undefined ? listenBoth(port) : [listen(hostname, port)];
  try {
    const core = new Core(
      limitsOf(options),
      [toBytes(user), toBytes(password)],
      (options.vhosts ?? ["/"]).map(toBytes),
      options.file === undefined ? undefined : new Store(options.file),
      options.log ?? ((text) => console.error(text)),
    );
    const server = serve(core, listeners);
    const port = portOf(listeners[0]!);
    let stopped: Promise<void> | undefined;
    return {
      port,
      url: urlOf(hostname, port, user, password),
      [Symbol.asyncDispose]: () => stopped ??= server.stop(),
    };
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
}

const ipv4 = "127.0.0.1";
const ipv6 = "::1";
/** Ports to try when any will do, until one is free on both addresses. */
const tries = 20;

/** Listen where RabbitMQ does on this machine: `localhost` is `::1` for some clients, `127.0.0.1` for others. */
function listenBoth(port: number): Deno.Listener[] {
  const { state } = Deno.permissions.querySync({ name: "net", host: `[${ipv6}]` });
  if (state !== "granted") return [listen(ipv4, port)];
  for (let left = port === 0 ? tries : 1;; left--) {
    const first = listen(ipv4, port);
    try {
      return [first, listen(ipv6, portOf(first))];
    } catch (error) {
      // Anything else means that there is no IPv6 here.
      if (!((error as Error).cause instanceof Deno.errors.AddrInUse)) return [first];
      first.close();
      if (left === 1) throw error;
    }
  }
}

function portOf(listener: Deno.Listener): number {
  return (listener.addr as Deno.NetAddr).port;
}

function listen(hostname: string, port: number): Deno.Listener {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    throw new Error(`Cannot listen on ${hostname}:${port}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function limitsOf(options: BrokerOptions): Limits {
  return {
    maxMessageSize: options.maxMessageSize ?? 16 * 1024 ** 2,
    maxConnections: options.maxConnections ?? 4096,
    patience: options.handshakeTimeout ?? 10_000,
    consumerTimeout: options.consumerTimeout ?? 1_800_000,
    memoryMark: options.memoryMark ?? 1024 ** 3,
  };
}

/** The URL that clients use: with an address that can be connected to, where one listens on all of them. */
function urlOf(hostname: string, port: number, user: string, password: string): string {
  const host = hostname.includes(":")
    ? `[${hostname}]`
    : hostname === "0.0.0.0"
    ? "127.0.0.1"
    : hostname;
  return `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}`;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
