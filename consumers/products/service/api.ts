/**
 * Service's HTTP interface; openapi.json describes it.
 * @module
 */
import type { Log } from "@event-sink/lib";
import { createApp, type HttpConfiguration, type Live, serveTexts } from "@event-sink/lib/http";
import type { Hono } from "hono";
import asyncapi from "../asyncapi.json" with { type: "json" };
import { answerList, bodyOf, found } from "../http.ts";
import page from "../page/service.html" with { type: "text" };
import script from "../page/service.js" with { type: "text" };
import shared from "../page/shared.js" with { type: "text" };
import style from "../page/page.css" with { type: "text" };
import { isObject, ValidationError, wholeNumber } from "../validation.ts";
import openapi from "./openapi.json" with { type: "json" };
import type { ServiceStore } from "./store.ts";

/** Returns the application. */
export function serviceApi(
  store: ServiceStore,
  live: Live,
  http: HttpConfiguration,
  log: Log,
): Hono {
  const app = createApp(http, log, "detail");
  app.get("/api/products", (context) => answerList(context, store.list));
  app.get("/api/products/live", () => live.answer());
  app.get(
    "/api/products/:id{[0-9]+}",
    async (context) => context.json(await found(context.req.param("id"), store.get)),
  );
  app.post("/api/products/:id{[0-9]+}/like", async (context) => {
    const { id } = await found(context.req.param("id"), store.get);
    const user_id = userIn(await bodyOf(context));
    if (!await store.like(id, user_id, context.req.header())) {
      throw new ValidationError({ user_id: ["This user likes this product already."] });
    }
    return context.json({ id, user_id }, 201);
  });
  app.get("/health", (context) => context.json({ status: "ok", unpublished: store.outbox.size() }));
  app.get("/openapi.json", (context) => context.json(openapi));
  app.get("/asyncapi.json", (context) => context.json(asyncapi));
  serveTexts(app, { "/": page, "/page.css": style, "/shared.js": shared, "/page.js": script });
  return app;
}

function userIn(body: unknown): number {
  const value = isObject(body) ? body.user_id : undefined;
  const user = wholeNumber(value);
  if (user !== undefined) return user;
  const message = value === undefined
    ? "This field is required."
    : value === null
    ? "This field may not be null."
    : "A valid integer is required.";
  throw new ValidationError({ user_id: [message] });
}
