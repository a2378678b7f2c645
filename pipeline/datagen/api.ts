/**
 * Datagen's HTTP interface.
 * @module
 */
import type { Log } from "@event-sink/lib";
import type { Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { createEvent, type PipelineObject } from "../event.ts";
import { createApp } from "../service/http.ts";
import type { ObjectStore } from "./object_store.ts";
import { traceparent } from "../trace.ts";

/** Largest body, in bytes. It is small because every event about an object carries its content. */
const BODY_LIMIT = 2 ** 20;
/** Most objects that one request may make. */
const COUNT_LIMIT = 10_000;
/** Most objects that one request may list. */
const LIST_LIMIT = 1000;

/** The routes. Errors that are not the client's are logged. */
export function objectApi(store: ObjectStore, log: Log): Hono {
  const app = createApp(log);

  const limit = bodyLimit({
    maxSize: BODY_LIMIT,
    onError: (context) =>
      context.json({ error: `the body is larger than ${BODY_LIMIT} bytes` }, 413),
  });
  app.post("/api/objects", limit, async (context) => {
    const count = numberIn(context, "count", COUNT_LIMIT);
    if (count instanceof Error) return context.json({ error: count.message }, 400);
    const body = await context.req.text();
    let content: unknown;
    try {
      content = body === "" ? undefined : JSON.parse(body);
    } catch (error) {
      return context.json({ error: `the body is not JSON: ${(error as Error).message}` }, 400);
    }
    const objects = Array.from({ length: count ?? 1 }, () => createObject(content));
    // With tracing on, Deno has read this header already. Without it, nobody but us hands the caller's trace on.
    const trace = traceparent({ traceparent: context.req.header("traceparent") });
    store.add(objects.map((object) => ({
      object,
      event: createEvent("OBJECT_CREATED", {
        id: object.id,
        source: "/datagen",
        data: object,
        traceparent: trace,
      }),
    })));
    return context.json(count === undefined ? objects[0] : objects, 201);
  });

  app.get("/api/objects", (context) => {
    const limit = numberIn(context, "limit", LIST_LIMIT);
    if (limit instanceof Error) return context.json({ error: limit.message }, 400);
    return context.json(store.list(limit ?? LIST_LIMIT));
  });
  app.get("/api/objects/:id", (context) => {
    const id = context.req.param("id");
    const object = store.get(id);
    return object
      ? context.json(object)
      : context.json({ error: `there is no object '${id}'` }, 404);
  });
  app.get("/health", (context) => context.json({ status: "ok", unpublished: store.outbox.size() }));
  return app;
}

function numberIn(context: Context, name: string, max: number): number | undefined | Error {
  const text = context.req.query(name);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= max) return number;
  return new RangeError(`${name}: expected a whole number from 1 to ${max}, not '${text}'`);
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
