/**
 * The HTTP server.
 * @module
 */
import { numberFlag, pause, textFlag } from "@event-sink/lib";
import type { Hono } from "hono";

/** Milliseconds that requests which have begun have to end when the tool is stopped. */
const FINISH_LIMIT = 2000;

/**
 * The flags `--host`, `--port` and `--allowed-host`.
 *
 * @param port the default port
 */
export function httpFlags(port: number) {
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

/**
 * Serves until `signal` aborts, then finishes the requests that have begun.
 *
 * @param app answers the requests
 * @param options address and port; `listening` is called with the URL once requests are accepted
 * @throws when the address is taken
 */
export async function serve(
  app: Hono,
  { host, port, signal, listening }: {
    host: string;
    port: number;
    signal: AbortSignal;
    listening: (url: string) => unknown;
  },
): Promise<void> {
  signal.throwIfAborted();
  let server: Deno.HttpServer<Deno.NetAddr>;
  const stop = new AbortController();
  try {
    server = Deno.serve({
      hostname: host,
      port,
      signal: stop.signal,
      onListen: ({ port }) =>
        listening(`http://${host.includes(":") ? `[${host}]` : host}:${port}`),
    }, app.fetch);
  } catch (error) {
    throw new Error(
      `Cannot listen on ${host}:${port}: ${(error as Error).message}. Choose another --port`,
    );
  }
  signal.addEventListener("abort", async () => {
    const limit = new AbortController();
    await Promise.race([
      server.shutdown(),
      pause(FINISH_LIMIT, limit.signal).then(() => stop.abort()), // a body that never ends
    ]);
    limit.abort();
  }, { once: true });
  await server.finished;
}
