/**
 * The accepting of connections.
 * @module
 */
import type { Broker } from "../broker/broker.ts";
import { Connection } from "./connection.ts";

/** Milliseconds between ticks: a heartbeat of one second, the shortest, is due twice in it. */
const tick = 500;
/** Milliseconds to wait after a connection that could not be accepted. */
const acceptDelay = 10;
/** Milliseconds between two log lines about that. */
const acceptLogInterval = 60_000;

/** A broker that takes connections. */
export interface Server {
  /** Close the listener and all connections, commit and close the store. */
  stop(): Promise<void>;
}

/** Serve the connections that come in on `listeners`, until `stop()`. */
export function serve(broker: Broker, listeners: readonly Deno.Listener[]): Server {
  const running = new Set<Promise<void>>();
  const strangers = new Strangers();
  const timer = setInterval(() => broker.tick(), tick);
  const take = (conn: Deno.Conn) => {
    const full = broker.connections.size >= broker.limits.maxConnections;
    if (full && !strangers.endOldest()) return conn.close();
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay();
    const connection = new Connection(broker, conn, addressOf(conn));
    broker.connections.add(connection);
    strangers.add(connection);
    const done = connection.run().finally(() => {
      running.delete(done);
      strangers.delete(connection);
    });
    running.add(done);
  };
  let loggedAt = -Infinity;
  const failed = ({ message }: Error) => {
    const madeRoom = strangers.endOldest();
    if (broker.now() - loggedAt < acceptLogInterval) return madeRoom;
    loggedAt = broker.now();
    broker.report(
      `Cannot accept a connection: ${message}. Those that have not logged in are closed to make room; ` +
        "where descriptors are too few, raise `ulimit -n`",
    );
    return madeRoom;
  };
  const accepting = listeners.map((listener) => acceptAll(listener, take, failed));
  return {
    async stop() {
      for (const listener of listeners) listener.close();
      clearInterval(timer);
      broker.stop();
      await Promise.all(accepting);
      await Promise.all(running);
    },
  };
}

/**
 * The connections that have not logged in, oldest first. Where there is no room they make it: whoever opens thousands of
 * sockets and says nothing must not keep out who has something to say.
 */
class Strangers {
  private readonly waiting = new Set<Connection>();

  add(connection: Connection): void {
    this.waiting.add(connection);
  }

  delete(connection: Connection): void {
    this.waiting.delete(connection);
  }

  /** End the one that has waited longest. @returns false when there is none */
  endOldest(): boolean {
    for (const connection of this.waiting) {
      this.waiting.delete(connection);
      if (connection.state === "running") continue;
      connection.end();
      return true;
    }
    return false;
  }
}

function addressOf({ remoteAddr }: Deno.Conn): string {
  return "hostname" in remoteAddr ? remoteAddr.hostname : "";
}

/** Accept until the listener is closed. @param failed Called when that fails; returns whether it made room */
async function acceptAll(
  listener: Deno.Listener,
  take: (conn: Deno.Conn) => void,
  failed: (error: Error) => boolean,
): Promise<void> {
  for (;;) {
    let conn: Deno.Conn;
    try {
      conn = await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
      const wait = failed(error as Error) ? 0 : acceptDelay;
      await new Promise((resolve) => setTimeout(resolve, wait));
      continue;
    }
    take(conn);
  }
}
