/**
 * The accepting of connections, and which of them go when there are too many.
 * @module
 */
import type { Services } from "../commands/context.ts";
import type { Login } from "./auth.ts";
import { close, serveConnection } from "./connection.ts";
import type { Peer } from "./dispatch.ts";
import { HeldBytes } from "./held_bytes.ts";
import { LoginDelays } from "./login_delays.ts";

/** Milliseconds to wait after a connection that could not be accepted. */
const ACCEPT_DELAY = 10;

/** How connections are taken. */
export interface ListenerOptions {
  /** Makes the login of a connection from an address; undefined: nobody has to log in. */
  login: ((delays: LoginDelays, address: string) => Login) | undefined;
  /** Most connections at a time. */
  maxConnections: number;
  /** Milliseconds that a client has to send its first command. */
  handshakeTimeout: number;
  /** Most bytes that connections hold, all together. */
  maxHeldBytes: number;
}

interface Open {
  peer: Peer;
  served: Promise<void>;
}

/** Connections, being served. */
export class Listener {
  #open = new Map<Deno.Conn, Open>();
  #delays = new LoginDelays();
  #held: HeldBytes;
  #accepting: Promise<void> = Promise.resolve();

  /** @param listener listens already */
  constructor(
    private readonly listener: Deno.TcpListener,
    private readonly options: ListenerOptions,
  ) {
    this.#held = new HeldBytes(options.maxHeldBytes);
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#open.size;
  }

  /** Accept connections until `stop()`. */
  start(services: Services): void {
    this.#accepting = this.#accept(services);
  }

  async #accept(services: Services): Promise<void> {
    for (let id = 1;; id++) {
      try {
        this.#serve(await this.listener.accept(), id, services);
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        // Out of file descriptors, or the client was gone already: the next one may fare better.
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_DELAY));
      }
    }
  }

  #serve(conn: Deno.TcpConn, id: number, services: Services): void {
    const { maxConnections, handshakeTimeout } = this.options;
    if (this.#open.size >= maxConnections && !this.#makeRoom()) return conn.close();
    try {
      conn.setNoDelay(true);
    } catch { /* it was reset before it was served */ }
    const { hostname, port } = conn.remoteAddr;
    const login = this.options.login?.(this.#delays, hostname);
    const peer: Peer = { id, client: `${hostname}:${port}`, login, greeted: false };
    const timer = setTimeout(() => peer.greeted || close(conn), handshakeTimeout);
    const served = serveConnection(conn, services, peer, this.#held);
    this.#open.set(conn, { peer, served });
    served.finally(() => {
      clearTimeout(timer);
      this.#open.delete(conn);
    });
  }

  /**
   * Close a connection in favour of a new one: the oldest that has not sent any command, else the oldest that has not
   * logged in.
   * @returns false when all are in use
   */
  #makeRoom(): boolean {
    const of = (test: (peer: Peer) => boolean) => {
      for (const [conn, { peer }] of this.#open) if (test(peer)) return conn;
    };
    const conn = of(({ greeted }) => !greeted) ?? of(({ login }) => !!login && !login.done);
    if (!conn) return false;
    close(conn);
    this.#open.delete(conn);
    return true;
  }

  /** Stop listening and close all connections. */
  async stop(): Promise<void> {
    this.listener.close();
    this.#delays.close();
    await this.#accepting;
    const served = [...this.#open.values()].map((open) => open.served);
    for (const conn of this.#open.keys()) close(conn);
    await Promise.all(served);
  }
}
