/**
 * What both HTTP interfaces share. Errors are JSON in the form of Django REST framework: `{ "detail": "..." }`, or messages by field.
 * @module
 */
import { guard } from "@event-sink/lib/http";
import { type Log, printable } from "@event-sink/lib";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { methodNotAllowed } from "hono/method-not-allowed";
import { secureHeaders } from "hono/secure-headers";
import { parseJson, wholeNumber } from "../json.ts";
import { LIST_LIMIT, type Page } from "../product.ts";
import { ValidationError } from "../validation.ts";

/** Largest body, in bytes. It is small because every event carries its product. */
const BODY_LIMIT = 65_536;

const security = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    connectSrc: ["'self'"],
    imgSrc: ["data:"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
  strictTransportSecurity: false, // for the proxy that adds TLS to decide
});

/** Which requests are served, and who is told of errors that are not the client's. */
export interface AppOptions {
  /** Address to listen on. */
  host: string;
  /** Further host names that requests may name, separated by commas. */
  allowedHost: string;
  log: Log;
}

/** Returns an application without routes; every path is the same with and without a slash at its end. */
export function createApp({ host, allowedHost, log }: AppOptions): Hono {
  const app = new Hono({ strict: false });
  app.use(security);
  const allowedHosts = allowedHost.toLowerCase().split(",").map((name) => name.trim());
  app.use(guard({ host: host.toLowerCase(), allowedHosts }, "detail"));
  app.use(methodNotAllowed({
    app,
    onMethodNotAllowed: (context, methods) =>
      context.json({ detail: `Method "${context.req.method}" not allowed.` }, 405, {
        Allow: methods.join(", "),
      }),
  }));
  app.use(bodyLimit({
    maxSize: BODY_LIMIT,
    onError: (context) =>
      context.json({ detail: `The body is larger than ${BODY_LIMIT} bytes.` }, 413),
  }));
  app.onError((error, context) => {
    if (error instanceof ValidationError) return context.json(error.errors, 400);
    if (error instanceof HTTPException) {
      return context.json({ detail: error.message }, error.status);
    }
    log.warn(`${context.req.method} ${printable(context.req.path, 200)}: ${error.message}`);
    return context.json({ detail: "A server error occurred; the log says more." }, 500);
  });
  app.notFound((context) => context.json({ detail: "Not found." }, 404));
  return app;
}

/**
 * The body of a request, its numbers as they were written.
 *
 * @throws {HTTPException} 415 when it is not sent as JSON, 400 when it is none
 */
export async function bodyOf({ req }: Context): Promise<unknown> {
  const type = req.header("content-type") ?? "application/json";
  if (!/^application\/([\w.+-]+\+)?json *(;|$)/i.test(type)) {
    const message = `Unsupported media type "${
      printable(type, 100)
    }" in request: send application/json.`;
    throw new HTTPException(415, { message });
  }
  try {
    return parseJson(new Uint8Array(await req.arrayBuffer()));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new HTTPException(400, {
      message: `JSON parse error - ${printable(error.message, 200)}`,
    });
  }
}

/** A 404 that names the id. */
export function noProduct(id: string): HTTPException {
  return new HTTPException(404, {
    message: `Not found: there is no product '${printable(id, 100)}'.`,
  });
}

/** What a path's id leads to. @throws {HTTPException} 404 when it is no number, or there is nothing */
export function found<T>(id: string, get: (id: number) => T | undefined | false): T {
  const number = wholeNumber(id);
  const thing = number === undefined ? undefined : get(number);
  if (!thing) throw noProduct(id);
  return thing;
}

/** Answers a list: `?limit` (1000) products, those behind the id `?after`; the header `Link` names the next page. */
export function answerList(
  context: Context,
  list: (range: { limit: number; after: number }) => Page,
): Response {
  const limit = queryNumber(context, "limit", { initial: LIST_LIMIT, min: 1, max: LIST_LIMIT });
  const after = queryNumber(context, "after", {
    initial: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  });
  const { products, next } = list({ limit, after });
  if (next !== undefined) {
    context.header("Link", `</api/products/?limit=${limit}&after=${next}>; rel="next"`);
  }
  return context.json(products);
}

function queryNumber(
  { req }: Context,
  name: string,
  { initial, min, max }: { initial: number; min: number; max: number },
): number {
  const text = req.query(name);
  if (text === undefined) return initial;
  if (!/^-?\d+$/.test(text)) {
    throw new ValidationError({ [name]: ["A valid integer is required."] });
  }
  const number = Number(text);
  if (number >= min && number <= max) return number;
  const bound = number < min ? `greater than or equal to ${min}` : `less than or equal to ${max}`;
  throw new ValidationError({ [name]: [`Ensure this value is ${bound}.`] });
}

/** Serves files of a page and documents, by path. */
export function serveTexts(app: Hono, texts: Record<string, [type: string, text: string]>): void {
  for (const [path, [type, text]] of Object.entries(texts)) {
    app.get(path, (context) => context.body(text, 200, { "content-type": type }));
  }
}
