/**
 * What all HTTP interfaces share, apart from their routes.
 * @module
 */
import { type Context, Hono, type Next } from "hono";
import { HTTPException } from "hono/http-exception";
import { methodNotAllowed } from "hono/method-not-allowed";
import { matchedRoutes } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import type { Log } from "../log.ts";
import { printable } from "../text.ts";
import { describeSpan, inSpan, recordFailure } from "../trace.ts";
import { guard } from "./guard.ts";
import type { HttpConfiguration } from "./server.ts";
import { addStatus } from "./status.ts";

/** Pages load nothing from elsewhere, and are in no frame. */
const security = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    connectSrc: ["'self'"],
    imgSrc: ["'self'", "data:"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
  strictTransportSecurity: false, // for the proxy that adds TLS to decide
});

/**
 * Returns an application without routes, whose paths are the same with and without a slash at their ends. It answers errors as JSON,
 * `{ "error": "..." }`, and logs those that are not the client's; refuses requests of other people's web pages; answers 405 where only the
 * method is wrong; says how the tool does ({@linkcode addStatus}). A request that changes something continues the trace of its headers.
 *
 * @param key under which the JSON of an error says what is wrong (`error`)
 */
export function createApp(
  { host, allowedHost }: HttpConfiguration,
  log: Log,
  key = "error",
): Hono {
  const app = new Hono({ strict: false });
  const allowedHosts = allowedHost.toLowerCase().split(",").map((name) => name.trim());
  app.use(async (context, next) => {
    await next();
    if (context.req.method === "HEAD") await setLength(context.res);
  });
  app.use(traced);
  app.use(security);
  app.use(guard({ host: host.toLowerCase(), allowedHosts }, key));
  app.use(methodNotAllowed({
    app,
    onMethodNotAllowed: ({ req, json }, methods) => {
      const allowed = methods.join(", ");
      const message = `${req.method} is not among the methods here: ${allowed}`;
      return json({ [key]: message }, 405, { Allow: allowed });
    },
  }));
  app.onError((error, { req, json }) => {
    if (error instanceof HTTPException) {
      return error.res ?? json({ [key]: error.message }, error.status);
    }
    // How Node's server says that the client went away, or was too slow.
    if ((error as { code?: string }).code === "ECONNRESET") {
      return json({ [key]: "the request did not arrive completely" }, 400);
    }
    log.warn(`${req.method} ${printable(req.path, 200)}: ${error.message}`);
    return json({ [key]: error.message }, 500);
  });
  addStatus(app);
  app.notFound(({ req, json }) =>
    json({ [key]: `${req.method} ${printable(req.path, 200)}: there is no such thing` }, 404)
  );
  return app;
}

/**
 * What a request changes belongs to its trace (https://opentelemetry.io/docs/specs/semconv/http/http-spans/). Deno's own span for a request to
 * `node:http` does not continue the caller's trace, and what runs within it does not belong to it (2.9.6).
 */
async function traced(context: Context, next: Next): Promise<void> {
  const { method, path } = context.req;
  if (method === "GET" || method === "HEAD") return await next();
  const route = matchedRoutes(context).at(-1)?.path.replace(/\{[^}]*\}/g, ""); // without its patterns
  const known = route !== undefined && !/^\/?\*$/.test(route);
  const attributes = {
    "http.request.method": method,
    "url.path": path,
    ...known && { "http.route": route },
  };
  const name = known ? `${method} ${route}` : method;
  await inSpan(name, { kind: "server", cause: context.req.header(), attributes }, async () => {
    await next();
    const { status } = context.res;
    describeSpan({ "http.response.status_code": status });
    if (status >= 500) recordFailure(context.error ?? status);
  });
}

/** HEAD tells the length that GET would send, unless that is a stream without end. */
async function setLength(response: Response): Promise<void> {
  if (response.headers.get("content-type") === "text/event-stream") {
    return await response.body?.cancel();
  }
  const body = await response.clone().arrayBuffer();
  response.headers.set("content-length", `${body.byteLength}`);
}

const types = { js: "text/javascript", css: "text/css", svg: "image/svg+xml", html: "text/html" };

/** Serves texts by path, such as the files of a page; the type is that of the path's ending, HTML where it has none. */
export function serveTexts(app: Hono, texts: Record<string, string>): void {
  for (const [path, text] of Object.entries(texts)) {
    const type = types[path.split(".")[1] as keyof typeof types] ?? types.html;
    app.get(path, ({ body }) => body(text, 200, { "content-type": `${type}; charset=utf-8` }));
  }
}
