import assert from "node:assert/strict";
import { adminApi } from "./admin/api.ts";
import { openAdminStore } from "./admin/store.ts";
import asyncapi from "./asyncapi.json" with { type: "json" };
import admin from "./admin/openapi.json" with { type: "json" };
import { createLive } from "@event-sink/lib/http";
import { serviceApi } from "./service/api.ts";
import service from "./service/openapi.json" with { type: "json" };
import { openServiceStore } from "./service/store.ts";

const log = { debug() {}, info() {}, warn() {}, setLevel() {}, written: () => Promise.resolve() };

/** Each application, without a server. */
function apps() {
  const stop = new AbortController();
  const http = { host: "127.0.0.1", allowedHost: "" };
  const live = createLive(stop.signal);
  const directory = Deno.makeTempDirSync({ prefix: "event-sink-products-" });
  const stores = [
    openAdminStore(`${directory}/admin.db`),
    openServiceStore(`${directory}/service.db`),
  ] as const;
  return {
    apps: [
      [adminApi(stores[0], live, http, log), admin],
      [serviceApi(stores[1], live, http, log), service],
    ] as const,
    [Symbol.dispose]() {
      stop.abort();
      for (const store of stores) store[Symbol.dispose]();
      Deno.removeSync(directory, { recursive: true });
    },
  };
}

Deno.test("each OpenAPI description has exactly the routes that there are", () => {
  using test = apps();
  for (const [app, description] of test.apps) {
    const served = app.routes
      .filter(({ method, path }) => method !== "ALL" && /^\/(api|health|ready|metrics)/.test(path))
      .map(({ method, path }) =>
        `${method} ${path}`.replace(/:by\{(\w+)=.*\}/, "$1={$1}")
          .replace(/:(\w+)\{.*\}/, "{$1}")
      );
    const described = Object.entries(description.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) =>
        `${method.toUpperCase()} ${path.length > 1 ? path.replace(/\/$/, "") : path}`
      )
    );
    assert.deepEqual(described.sort(), served.sort());
    assert.equal(description.openapi, "3.1.0");
  }
});

Deno.test("every reference in the descriptions leads somewhere, and every parameter of a path is described", () => {
  for (const document of [admin, service, asyncapi]) {
    const text = JSON.stringify(document);
    for (const [, path] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      let target: unknown = document;
      for (const part of path!.split("/")) target = (target as Record<string, unknown>)?.[part];
      assert(target, path);
    }
  }
  for (const { paths } of [admin, service]) {
    for (const [path, methods] of Object.entries(paths)) {
      for (const operation of Object.values(methods as Record<string, Operation>)) {
        const described = (operation.parameters ?? []).filter((parameter) =>
          parameter.in === "path"
        );
        const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        assert.deepEqual(described.map(({ name }) => name), wanted, path);
      }
    }
  }
});

interface Operation {
  parameters?: { name: string; in: string }[];
}

Deno.test("AsyncAPI names every event that is read, and no other", async () => {
  const source = await Deno.readTextFile(new URL("./event.ts", import.meta.url));
  const read = new Set(source.match(/"products?_[a-z]+"/g)!.map((name) => name.slice(1, -1)));
  assert.deepEqual(Object.keys(asyncapi.components.messages).sort(), [...read].sort());
});
