/**
 * A MongoDB-compatible store in this process: MongoDB's wire protocol over SQLite, for one machine.
 *
 * ```ts
 * await using store = await startStore({ port: 0 });
 * const client = new MongoClient(store.url);
 * ```
 * @module
 */
import type { Services } from "./commands/context.ts";
import { Cursors } from "./commands/cursors.ts";
import { Sessions } from "./commands/sessions.ts";
import { Listener, type ListenerOptions } from "./server/listener.ts";
import { Catalog } from "./storage/catalog.ts";
import { startReclaiming } from "./storage/free_space.ts";
import { startSweeps } from "./storage/ttl.ts";

/** How a store is started. */
export interface StoreOptions {
  /** Address to listen on; another than loopback's needs a password. Default `127.0.0.1`. */
  hostname?: string;
  /** TCP port; 0 takes any free one. Default 27017. */
  port?: number;
  /** Name of the one user, when there is a password. Default `admin`. */
  username?: string;
  /** Password that clients must give (SCRAM-SHA-256). Default: none, everybody on this machine is let in. */
  password?: string;
  /** SQLite file of the data. Default: in memory, gone with the process. */
  file?: string;
  /** Milliseconds between two sweeps of the TTL indexes and the idle cursors. Default 60,000, as MongoDB. */
  sweepInterval?: number;
  /** Milliseconds after which an idle cursor is closed. Default 600,000, as MongoDB. */
  cursorTimeout?: number;
  /** Most cursors open at a time. Default 10,000. */
  maxCursors?: number;
  /**
   * Most connections at a time. A further one takes the place of the oldest that has sent no command or, where there is
   * a password, has not logged in; it is closed when there is none. Default 1,000.
   */
  maxConnections?: number;
  /** Milliseconds that a client has to send its first command. Default 10,000, as the broker. */
  handshakeTimeout?: number;
  /**
   * Most bytes that all connections together hold of messages that have not come whole and of answers that are not read;
   * a connection that would hold more is closed. Default 512 MiB.
   */
  maxHeldBytes?: number;
}

/** A running store. Disposing of it closes its connections and commits what is open. */
export interface Store extends AsyncDisposable {
  /** The port that it listens on. */
  readonly port: number;
  /** `mongodb://localhost:PORT`. */
  readonly url: string;
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|::1)$/;

/**
 * Start a store.
 * @returns the store, ready to accept
 * @throws Error when the port is taken, the address is not loopback and there is no password, or the file cannot
 *   be opened
 */
export async function startStore(options: StoreOptions = {}): Promise<Store> {
  const { hostname = "127.0.0.1", port = 27017, username = "admin", password } = options;
  if (!LOOPBACK.test(hostname) && !password) {
    throw new Error(
      `Cannot listen on ${hostname}:${port}: an address that other machines reach needs a password`,
    );
  }
  const login = password ? await logins(username, password) : undefined;
  const catalog = new Catalog(options.file);
  let socket: Deno.TcpListener;
  try {
    socket = Deno.listen({ hostname, port });
  } catch (error) {
    catalog.engine.close();
    throw new Error(`Cannot listen on ${hostname}:${port}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const listener = new Listener(socket, {
    login,
    maxConnections: options.maxConnections ?? 1000,
    handshakeTimeout: options.handshakeTimeout ?? 10_000,
    maxHeldBytes: options.maxHeldBytes ?? 512 * 1024 * 1024,
  });
  return serve(catalog, listener, socket.addr.port, options);
}

/** Loaded only where there is a password: cryptography takes as long to load as all the rest. */
async function logins(username: string, password: string): Promise<ListenerOptions["login"]> {
  const { deriveCredentials, Login } = await import("./server/auth.ts");
  const credentials = deriveCredentials(username, password);
  return (delays, address) => new Login(credentials, delays, address);
}

function serve(catalog: Catalog, listener: Listener, port: number, options: StoreOptions): Store {
  const services: Services = {
    catalog,
    cursors: new Cursors(options.cursorTimeout ?? 600_000, options.maxCursors ?? 10_000),
    sessions: new Sessions(),
    startedAt: Date.now(),
    connections: () => listener.connections,
    port: () => port,
  };
  listener.start(services);
  const stopSweeps = startSweeps(catalog, options.sweepInterval ?? 60_000, () => {
    services.cursors.sweep();
    services.sessions.sweep();
  });
  const stopReclaiming = startReclaiming(catalog.engine);
  let closed: Promise<void> | undefined;
  const close = async () => {
    stopSweeps();
    stopReclaiming();
    services.cursors.close();
    await listener.stop();
    catalog.engine.close();
  };
  return {
    port,
    url: `mongodb://localhost:${port}`,
    [Symbol.asyncDispose]: () => closed ??= close(),
  };
}
