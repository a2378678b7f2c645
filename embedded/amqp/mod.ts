/**
 * An AMQP 0-9-1 broker in this process, behaving as RabbitMQ 3.10 does, for one machine.
 *
 * ```ts
 * await using broker = await startBroker({ port: 0 });
 * const connection = await amqplib.connect(broker.url);
 * ```
 * @module
 */
import { Broker as Core, type Limits } from "./broker/broker.ts";
import { Connection } from "./server/connection.ts";
import { toBytes } from "./protocol/fields.ts";
import { Store } from "./storage/store.ts";

/** Options of `startBroker()`. */
export interface BrokerOptions {
  /** Address to listen on. Any but a loopback address needs `user` and `password`. Default `127.0.0.1`. */
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
  /** Largest body in bytes. Default 134217728, as RabbitMQ's. */
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
  const { hostname = "127.0.0.1", port = 5672, user = "guest", password = "guest" } = options;
  if (!isLoopback(hostname) && (user === "guest" || password === "guest")) {
    throw new Error(
      `Cannot listen on ${hostname}:${port}: an address that is not loopback needs a user and a password of your own`,
    );
  }
  let listener: Deno.Listener;
  try {
    listener = Deno.listen({ hostname, port });
  } catch (error) {
    throw new Error(`Cannot listen on ${hostname}:${port}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    const limits: Limits = {
      maxMessageSize: options.maxMessageSize ?? 134_217_728,
      maxConnections: options.maxConnections ?? 4096,
      patience: options.handshakeTimeout ?? 10_000,
      consumerTimeout: options.consumerTimeout ?? 1_800_000,
      memoryMark: options.memoryMark ?? 1024 ** 3,
    };
    const core = new Core(
      limits,
      [toBytes(user), toBytes(password)],
      (options.vhosts ?? ["/"]).map(toBytes),
      options.file === undefined ? undefined : new Store(options.file),
      options.log ?? ((text) => console.error(text)),
    );
    return serve(core, listener, hostname, user, password);
  } catch (error) {
    listener.close();
    throw error;
  }
}

function serve(
  core: Core,
  listener: Deno.Listener,
  hostname: string,
  user: string,
  password: string,
): Broker {
  const { port } = listener.addr as Deno.NetAddr;
  const running = new Set<Promise<void>>();
  const timer = setInterval(() => core.tick(), 1000);
  const accepting = (async () => {
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        // Out of file descriptors, or a peer that was gone before we looked: go on.
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      if (core.connections.size >= core.limits.maxConnections) {
        conn.close();
        continue;
      }
      if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay();
      const connection = new Connection(core, conn);
      core.connections.add(connection);
      const done = connection.run().finally(() => running.delete(done));
      running.add(done);
    }
  })();
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    listener.close();
    clearInterval(timer);
    core.stop();
    await accepting;
    await Promise.all(running);
  };
  const host = hostname.includes(":")
    ? `[${hostname}]`
    : hostname === "0.0.0.0"
    ? "127.0.0.1"
    : hostname;
  return {
    port,
    url: `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}`,
    [Symbol.asyncDispose]: () => stopped ??= stop(),
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
