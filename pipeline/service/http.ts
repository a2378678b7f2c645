/**
 * A service's HTTP server.
 * @module
 */
import { type Log, numberFlag, textFlag } from "@event-sink/lib";
import { Hono } from "hono";

/**
 * The flags `--host` and `--port`.
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
  };
}

/** Returns an application without routes. It answers errors as JSON, `{ "error": "..." }`, and logs those that are not the client's. */
export function createApp(log: Log): Hono {
  const app = new Hono();
  app.onError((error, context) => {
    log.warn(`${context.req.method} ${context.req.path}: ${error.message}`);
    return context.json({ error: error.message }, 500);
  });
  app.notFound((context) =>
    context.json(
      { error: `${context.req.method} ${context.req.path}: there is no such thing` },
      404,
    )
  );
  return app;
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
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({
      hostname: host,
      port,
      onListen: ({ hostname, port }) => listening(`http://${hostname}:${port}`),
    }, app.fetch);
  } catch (error) {
    throw new Error(
      `Cannot listen on ${host}:${port}: ${(error as Error).message}. Choose another --port`,
    );
  }
  const stop = () => server.shutdown();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  await server.finished;
}
