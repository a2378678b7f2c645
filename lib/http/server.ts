/**
 * A tool's HTTP server.
 *
 * On Node's server, as `Deno.serve` has no time limits for what a client sends (https://github.com/denoland/deno/issues/3515) and ends when file
 * descriptors run out.
 * @module
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import { type Flag, numberFlag, textFlag } from "../flags.ts";
import type { Log } from "../log.ts";
import { pause } from "../wait.ts";

/** The flags of every tool that serves HTTP. */
export type HttpFlags = {
  /** Address to listen on. */
  host: Flag<string>;
  /** Port to listen on. */
  port: Flag<number>;
  /** Further host names, separated by commas. */
  allowedHost: Flag<string>;
};

/**
 * The flags `--host`, `--port` and `--allowed-host`.
 *
 * @param port the default port
 */
export function httpFlags(port: number): HttpFlags {
  return {
    host: textFlag("address to listen on; 0.0.0.0 for all", {
      value: "ADDRESS",
      default: "127.0.0.1",
    }),
    port: numberFlag("port to listen on, 0 for any free one", {
      default: port,
      max: 65_535,
      whole: true,
    }),
    allowedHost: textFlag(
      "further host names that requests may name, separated by commas, such as that of a proxy",
      { value: "NAMES", default: "" },
    ),
  };
}

/** What {@linkcode httpFlags} lead to. */
export interface HttpConfiguration {
  /** Address to listen on. */
  host: string;
  /** Further host names, separated by commas. */
  allowedHost: string;
}

/**
 * Connections at the same time above which requests are answered with 503, and above which further ones are closed at once. Commonly a
 * process may have 1024 open files.
 */
const BUSY_CONNECTIONS = 500;
const MOST_CONNECTIONS = 800;
/** Milliseconds that requests which have begun have to end when the tool is stopped. */
const FINISH_LIMIT = 1000;
/** Milliseconds between two checks that connections are accepted, and that one may take. */
const CHECK_INTERVAL = 5000;
const CHECK_LIMIT = 2000;

/** Where and how long to serve. */
export interface ServeOptions {
  /** Address to listen on. */
  host: string;
  /** Port to listen on, 0 for any free one. */
  port: number;
  /** Ends it. */
  signal: AbortSignal;
  /** Is told when there are too many connections. */
  log: Log;
  /** Is called with the URL once requests are accepted. */
  listening: (url: string) => unknown;
  /** The flag that names the port, for an error (`--port`). */
  flag?: string;
  /** Milliseconds that a client may take to send a request's headers, and all of it (30,000). */
  receiveLimit?: number;
}

/**
 * Serves until `signal` aborts; requests that have begun then have a second to end.
 *
 * @param app answers the requests
 * @throws when the address is taken
 */
export async function serve(
  app: Hono,
  { host, port, signal, log, listening, flag = "--port", receiveLimit = 30_000 }: ServeOptions,
): Promise<void> {
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false, hostname: host });
  let open = 0;
  const server = createServer(
    {
      headersTimeout: receiveLimit,
      requestTimeout: receiveLimit,
      connectionsCheckingInterval: Math.min(receiveLimit, 1000),
    },
    (request, response) => open > BUSY_CONNECTIONS ? refuse(response) : answer(request, response),
  );
  server.on("connection", (socket) => {
    open++;
    socket.once("close", () => open--);
  });
  server.maxConnections = MOST_CONNECTIONS;
  const address = await listen(server, host, port).catch((error) => {
    throw new Error(`Cannot listen on ${host}:${port}: ${error.message}. Choose another ${flag}`);
  });
  const name = host.includes(":") ? `[${host}]` : host;
  await listening(`http://${name}:${address.port}`);
  await keepAccepting(server, { host, port: address.port, signal, log });
  const closed = close(server);
  const timer = setTimeout(() => server.closeAllConnections(), FINISH_LIMIT);
  await closed;
  clearTimeout(timer);
}

async function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } finally {
    server.off("error", reject);
  }
  return server.address() as AddressInfo;
}

function refuse(response: ServerResponse): void {
  const headers = { "content-type": "application/json", "retry-after": "1", connection: "close" };
  response.writeHead(503, headers).end('{"error":"too many connections; try again later"}');
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/**
 * Returns when the signal aborts. Once it could not accept a connection, for want of file descriptors, the server never accepts another one, and
 * does not tell (Deno 2.9.6). So connect to it from time to time, and let it listen again when it does not answer.
 */
async function keepAccepting(
  server: Server,
  { host, port, signal, log }: Pick<ServeOptions, "host" | "port" | "signal" | "log">,
): Promise<void> {
  let accepted = 0;
  server.on("connection", () => accepted++);
  server.on("drop", () => accepted++);
  const hostname = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  async function accepts(): Promise<boolean> {
    const before = accepted;
    try {
      using _connection = await Deno.connect({ hostname, port });
      for (let waited = 0; accepted === before && waited < CHECK_LIMIT; waited += 100) {
        await pause(100, signal);
      }
    } catch {
      signal.throwIfAborted();
    }
    return accepted !== before;
  }
  let failing = false;
  try {
    while (true) {
      await pause(CHECK_INTERVAL, signal);
      if (await accepts()) {
        failing = false;
        continue;
      }
      if (!failing) {
        log.warn(
          "No connection can be accepted, probably for want of file descriptors (ulimit -n): closing all of them",
        );
      }
      failing = true;
      server.closeAllConnections();
      await close(server);
      await listen(server, host, port).catch((error) => log.debug(error.message));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
