import assert from "node:assert/strict";
import { eventually } from "../testing.ts";
import { createApp } from "./app.ts";
import { createLive } from "./live.ts";
import { serve } from "./server.ts";

/** A server of live events, and a page of it. */
async function setup() {
  const stop = new AbortController();
  const { signal } = stop;
  const log = { debug() {}, info() {}, warn() {}, setLevel() {}, written: () => Promise.resolve() };
  const live = createLive(signal);
  const app = createApp({ host: "127.0.0.1", allowedHost: "" }, log);
  app.get("/live", () => live.answer(["first", { some: "thing" }]));
  const { promise, resolve } = Promise.withResolvers<string>();
  const serving = serve(app, { host: "127.0.0.1", port: 0, signal, log, listening: resolve });
  const { port } = new URL(await promise);
  const page = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  const request = `GET /live HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
  await page.write(new TextEncoder().encode(request));
  await eventually(() => assert(live.watched()));
  return {
    live,
    page,
    stop: () => stop.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await serving;
    },
  };
}

Deno.test("createLive() sends a page its first events, what is told, and the end", async () => {
  await using test = await setup();
  test.live.tell("message", "news\n");
  test.stop();
  const text = await new Response(test.page.readable).text();
  const events = [...text.matchAll(/^event: (.*)\ndata: (.*)\n\n/gm)].map(([, ...event]) => event);
  assert.deepEqual(events, [
    ["alive", "null"],
    ["first", '{"some":"thing"}'],
    ["message", '"news\\n"'],
  ]);
});

Deno.test("createLive() forgets a page that is gone, and cuts off one that does not read", async () => {
  {
    await using test = await setup();
    test.page.close();
    await eventually(() => assert(!test.live.watched()));
  }
  await using test = await setup();
  const large = "x".repeat(10_000);
  await eventually(() => {
    for (let count = 0; count < 100; count++) test.live.tell("message", large);
    assert(!test.live.watched());
  });
  test.page.close();
});
