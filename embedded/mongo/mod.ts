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
import { type Credentials, deriveCredentials, Login } from "./server/auth.ts";
import { serveConnection } from "./server/connection.ts";
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
  /** Most connections at a time; further ones are closed. Default 1,000. */
  maxConnections?: number;
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
  const { hostname = "127.0.0.1", port = 27017, maxConnections = 1000 } = options;
  const { username = "admin", password } = options;
  if (!LOOPBACK.test(hostname) && !password) {
    throw new Error(
      `Cannot listen on ${hostname}:${port}: an address that other machines reach needs a password`,
    );
  }
  const credentials = password ? deriveCredentials(username, password) : undefined;
  const catalog = new Catalog(options.file);
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname, port });
  } catch (error) {
    catalog.engine.close();
    throw new Error(`Cannot listen on ${hostname}:${port}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const open = new Map<Deno.Conn, Promise<void>>();
  const services: Services = {
    catalog,
    cursors: new Cursors(options.cursorTimeout ?? 600_000, options.maxCursors ?? 10_000),
    sessions: new Sessions(),
    startedAt: Date.now(),
    connections: () => open.size,
    port: () => listener.addr.port,
  };
  const accepting = accept(listener, services, open, maxConnections, credentials);
  const { sweepInterval = 60_000 } = options;
  const stopSweeps = startSweeps(catalog, sweepInterval, () => {
    services.cursors.sweep();
    services.sessions.sweep();
  });
  const stopReclaiming = startReclaiming(catalog.engine);
  let closed: Promise<void> | undefined;
  const close = async () => {
    stopSweeps();
    stopReclaiming();
    services.cursors.close();
    listener.close();
    await accepting;
    for (const conn of open.keys()) {
      try {
        conn.close();
      } catch { /* it ended by itself */ }
    }
    await Promise.all(open.values());
    catalog.engine.close();
  };
  const actual = listener.addr.port;
  return await Promise.resolve({
    port: actual,
    url: `mongodb://localhost:${actual}`,
    [Symbol.asyncDispose]: () => closed ??= close(),
  });
}

async function accept(
  listener: Deno.TcpListener,
  services: Services,
  open: Map<Deno.Conn, Promise<void>>,
  maxConnections: number,
  credentials: Credentials | undefined,
): Promise<void> {
  for (let id = 1;; id++) {
    let conn: Deno.TcpConn;
    try {
      conn = await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
      // Out of file descriptors, or the client was gone already: the next one may fare better.
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    if (open.size >= maxConnections) {
      conn.close();
      continue;
    }
    try {
      conn.setNoDelay(true);
    } catch { /* it was reset before it was served */ }
    const { hostname, port } = conn.remoteAddr;
    const served = serveConnection(conn, services, {
      id,
      client: `${hostname}:${port}`,
      login: credentials && new Login(credentials),
    });
    open.set(conn, served);
    served.finally(() => open.delete(conn));
  }
}
