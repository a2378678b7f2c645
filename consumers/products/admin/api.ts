/**
 * Admin's HTTP interface; openapi.json describes it.
 * @module
 */
import type { Log } from "@event-sink/lib";
import { createApp, type HttpConfiguration, type Live, serveTexts } from "@event-sink/lib/http";
import type { Context, Hono } from "hono";
import asyncapi from "../asyncapi.json" with { type: "json" };
import { answerList, bodyOf, found, noProduct } from "../http.ts";
import page from "../page/admin.html" with { type: "text" };
import script from "../page/admin.js" with { type: "text" };
import shared from "../page/shared.js" with { type: "text" };
import style from "../page/page.css" with { type: "text" };
import { validateProduct } from "../validation.ts";
import openapi from "./openapi.json" with { type: "json" };
import type { AdminStore } from "./store.ts";

/** Ids of users are made up, from 1 to this. */
const USERS = 1000;

/** Returns the application. */
export function adminApi(store: AdminStore, live: Live, http: HttpConfiguration, log: Log): Hono {
  const app = createApp(http, log, "detail");

  async function create(context: Context) {
    const fields = validateProduct(await bodyOf(context));
    const product = await store.create(fields, context.req.header());
    live.tell("message", { type: "product_created", id: product.id });
    return context.json(product, 201, { Location: `/api/products/${product.id}/` });
  }
  app.get("/api/products", (context) => answerList(context, store.list));
  app.post("/api/products", create);
  app.post("/api/products/create", create);
  app.get("/api/products/live", () => live.answer());
  app.get("/api/products/random", (context) => {
    const product = store.random();
    if (!product) throw noProduct("random");
    return context.json(product);
  });
  app.get("/api/products/:by{id=.*}", async (context) => {
    const id = context.req.param("by").slice("id=".length);
    return context.json(await found(id, store.get));
  });
  app.get("/api/products/:by{title=.*}", (context) => {
    const title = context.req.param("by").slice("title=".length);
    const product = store.byTitle(title);
    if (!product) throw noProduct(title);
    return context.json(product);
  });
  app.get(
    "/api/products/:id{[0-9]+}",
    async (context) => context.json(await found(context.req.param("id"), store.get)),
  );
  app.put("/api/products/:id{[0-9]+}", async (context) => {
    const id = context.req.param("id");
    await found(id, store.get); // 404 goes before 400
    const fields = validateProduct(await bodyOf(context));
    const product = await found(
      id,
      (number) => store.update(number, fields, context.req.header()),
    );
    live.tell("message", { type: "product_updated", id: product.id });
    return context.json(product);
  });
  app.delete("/api/products/:id{[0-9]+}", async (context) => {
    const id = context.req.param("id");
    await found(id, (number) => store.remove(number, context.req.header()));
    live.tell("message", { type: "product_deleted", id: Number(id) });
    return context.body(null, 204);
  });
  app.get("/api/users", (context) => context.json({ id: 1 + Math.floor(Math.random() * USERS) }));
  app.get("/health", (context) => context.json({ status: "ok", unpublished: store.outbox.size() }));
  app.get("/openapi.json", (context) => context.json(openapi));
  app.get("/asyncapi.json", (context) => context.json(asyncapi));
  serveTexts(app, { "/": page, "/page.css": style, "/shared.js": shared, "/page.js": script });
  return app;
}
