/**
 * The accepting of connections.
 * @module
 */
import type { Broker } from "../broker/broker.ts";
import { Connection } from "./connection.ts";

/** Milliseconds between ticks: heartbeats and time limits are whole seconds. */
const tick = 1000;
/** Milliseconds to wait after a connection that could not be accepted. */
const acceptDelay = 10;

/** A broker that takes connections. */
export interface Server {
  /** Close the listener and all connections, commit and close the store. */
  stop(): Promise<void>;
}

/** Serve the connections that come in on `listener`, until `stop()`. */
export function serve(broker: Broker, listener: Deno.Listener): Server {
  const running = new Set<Promise<void>>();
  const timer = setInterval(() => broker.tick(), tick);
  const accepting = acceptAll(listener, (conn) => {
    if (broker.connections.size >= broker.limits.maxConnections) return conn.close();
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay();
    const connection = new Connection(broker, conn);
    broker.connections.add(connection);
    const done = connection.run().finally(() => running.delete(done));
    running.add(done);
  });
  return {
    async stop() {
      listener.close();
      clearInterval(timer);
      broker.stop();
      await accepting;
      await Promise.all(running);
    },
  };
}

/** Accept until the listener is closed. */
async function acceptAll(
  listener: Deno.Listener,
  take: (conn: Deno.Conn) => void,
): Promise<void> {
  for (;;) {
    try {
      take(await listener.accept());
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
      // Out of file descriptors, or a peer that was gone before we looked: go on.
      await new Promise((resolve) => setTimeout(resolve, acceptDelay));
    }
  }
}
