/**
 * Datagen's HTTP interface.
 * @module
 */
import { type Log, printable } from "@event-sink/lib";
import type { Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { createEvent, type PipelineObject } from "../event.ts";
import { createApp, type HttpConfiguration, readJson } from "@event-sink/lib/http";
import type { ObjectStore } from "./object_store.ts";

const MIB = 2 ** 20;
/** Largest body, in bytes. It is small because every event about an object carries its content. */
const BODY_LIMIT = MIB;
/** What a client sends when nobody has told it the type: `curl -d` a form's, `fetch` plain text's. */
const plainTypes = ["text/plain", "application/x-www-form-urlencoded"];
/** Most objects that one request may make. */
const COUNT_LIMIT = 10_000;
/** Most bytes of content that one request may make: they are stored in one transaction, which everybody else waits for. */
const TOTAL_LIMIT = 16 * MIB;
/** Most objects that one answer lists, and bytes of content after which no further one is added. */
const LIST_LIMIT = 1000;
const LIST_BYTES = 8 * MIB;

/** What the interface needs. */
export interface ObjectApi {
  /** Keeps the objects. */
  store: ObjectStore;
  /** Why the broker cannot be used now, undefined while it can. */
  brokerTrouble: () => string | undefined;
  /** Address, and the names that requests may use. */
  http: HttpConfiguration;
  /** Is told of errors that are not the client's. */
  log: Log;
}

/** Returns the application. */
export function objectApi({ store, brokerTrouble, http, log }: ObjectApi): Hono {
  const app = createApp(http, log);

  app.post("/api/objects", async (context) => {
    const count = numberIn(context, "count", COUNT_LIMIT);
    const content = await readJson(context, { limit: BODY_LIMIT, alsoTypes: plainTypes });
    const total = (count ?? 1) * byteLength(JSON.stringify(content) ?? "");
    if (total > TOTAL_LIMIT) {
      throw new HTTPException(413, {
        message: `${count} times this content is ${total} bytes; the most is ${TOTAL_LIMIT}`,
      });
    }
    const objects = Array.from({ length: count ?? 1 }, () => createObject(content));
    const texts = await store.add(withEvents(objects, context.req.header()));
    return json(context, count === undefined ? texts[0]! : `[${texts.join(",")}]`, 201);
  });

  app.get("/api/objects", (context) => {
    const limit = numberIn(context, "limit", LIST_LIMIT) ?? LIST_LIMIT;
    const after = context.req.query("after");
    const page = store.list({ limit, bytes: LIST_BYTES, after });
    if (!page) throw new HTTPException(400, { message: `after: ${missing(after!)}` });
    if (page.next !== undefined) {
      const next = `/api/objects?limit=${limit}&after=${encodeURIComponent(page.next)}`;
      context.header("Link", `<${next}>; rel="next"`);
    }
    return json(context, `[${page.objects.join(",")}]`);
  });
  app.get("/api/objects/:id", (context) => {
    const id = context.req.param("id");
    const object = store.get(id);
    if (object === undefined) throw new HTTPException(404, { message: missing(id) });
    return json(context, object);
  });
  app.get("/health", (context) =>
    context.json({
      status: "ok",
      unpublished: store.outbox.size(),
      broker: brokerTrouble() ?? "connected",
    }));
  return app;
}

/** Objects are answered as the text that they are stored as, so that no number changes on the way. */
function json(context: Context, text: string, status: 200 | 201 = 200): Response {
  return context.body(text, status, { "content-type": "application/json" });
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function missing(id: string): string {
  return `there is no object '${printable(id, 200)}'`;
}

function numberIn(context: Context, name: string, max: number): number | undefined {
  const text = context.req.query(name);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= max) return number;
  const message = `${name}: expected a whole number from 1 to ${max}, not '${
    printable(text, 200)
  }'`;
  throw new HTTPException(400, { message });
}

function withEvents(objects: PipelineObject[], headers: Record<string, string>) {
  return objects.map((object) => {
    const told = { id: object.id, source: "/datagen", data: object };
    return { object, event: createEvent("OBJECT_CREATED", told, headers) };
  });
}

/** Makes an object with the content given; `undefined` stands for made-up measurements. */
function createObject(content: unknown): PipelineObject {
  const id = crypto.randomUUID();
  return {
    id,
    name: `object-${id.slice(0, 8)}`,
    content: content === undefined
      ? { values: Array.from({ length: 8 }, () => Math.random()) }
      : content,
  };
}
