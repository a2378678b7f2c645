import assert from "node:assert/strict";
import { eventually } from "../testing.ts";
import { createApp } from "./app.ts";
import { serve } from "./server.ts";

/** A server with one route, and what it logs. */
async function setup(options: { receiveLimit?: number; host?: string; allowedHost?: string } = {}) {
  const { host = "127.0.0.1", allowedHost = "", receiveLimit } = options;
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const log = { debug() {}, info: say, warn: say, setLevel() {}, written: () => Promise.resolve() };
  const stop = new AbortController();
  const app = createApp({ host, allowedHost }, log);
  app.get("/thing", (context) => context.json({ some: "thing" }));
  app.post("/thing", async (context) => context.text(await context.req.text()));
  app.get("/broken", () => {
    throw new Error("out of order");
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  const serving = serve(app, {
    host,
    port: 0,
    signal: stop.signal,
    log,
    listening: resolve,
    receiveLimit,
  });
  const url = new URL(await promise);
  const port = Number(url.port);
  return {
    lines,
    port,
    stop: () => stop.abort(),
    serving,
    fetch: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init),
    /** Sends these bytes and returns all that comes until the server closes the connection. */
    async exchange(text: string): Promise<string> {
      using connection = await Deno.connect({ port });
      await connection.write(new TextEncoder().encode(text.replaceAll("\n", "\r\n")));
      return await new Response(connection.readable).text();
    },
    /** The status of a request with these headers, as a browser or a program sends it. */
    async status(method: string, headers: Record<string, string>): Promise<number> {
      const lines = Object.entries({ host: `127.0.0.1:${port}`, connection: "close", ...headers })
        .map(([name, value]) => `${name}: ${value}\n`).join("");
      const answer = await this.exchange(`${method} /thing HTTP/1.1\n${lines}\n`);
      return Number(answer.split(" ")[1]);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await serving;
    },
  };
}

Deno.test("serve() times out connections whose headers or body do not come", async () => {
  await using server = await setup({ receiveLimit: 500 });
  const host = `Host: 127.0.0.1:${server.port}\n`;
  for (
    const text of [
      "GET /thi",
      `POST /thing HTTP/1.1\n${host}Content-Length: 10\n\nhalf`,
      `POST /thing HTTP/1.1\n${host}Transfer-Encoding: chunked\n\n4\nhalf\n`,
      "",
    ]
  ) {
    assert.match(await server.exchange(text), /^HTTP\/1\.1 408 |^$/);
  }
  assert.equal((await server.fetch("/thing")).status, 200);
  assert.deepEqual(server.lines, []);
});

Deno.test("serve() answers 503 while too many connections are open, and serves again afterwards", async () => {
  await using server = await setup();
  const idle: Deno.Conn[] = [];
  for (let number = 0; number < 501; number++) {
    idle.push(await Deno.connect({ hostname: "127.0.0.1", port: server.port }));
  }
  await eventually(async () => {
    const response = await server.fetch("/thing", { headers: { connection: "close" } });
    assert.deepEqual(await response.json(), { error: "too many connections; try again later" });
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "1");
  });
  for (const each of idle) each.close();
  await eventually(async () => {
    const response = await server.fetch("/thing");
    await response.body?.cancel();
    assert.equal(response.status, 200);
  });
});

Deno.test("serve() ends although a body never does", async () => {
  await using server = await setup();
  const never = new ReadableStream({
    start: (controller) => controller.enqueue(new Uint8Array(10)),
  });
  const request = server.fetch("/thing", { method: "POST", body: never }).catch(() => undefined);
  await eventually(async () => assert.equal((await server.fetch("/thing")).status, 200));
  const started = Date.now();
  server.stop();
  await server.serving;
  assert(Date.now() - started < 5000);
  await (await request)?.body?.cancel();
});

Deno.test("an application answers 404, 405 with Allow, 500, and HEAD as GET without its body", async () => {
  await using server = await setup();
  const head = await server.fetch("/thing", { method: "HEAD" });
  assert.deepEqual(
    [head.status, head.headers.get("content-length"), await head.text()],
    [200, "16", ""],
  );
  assert.equal(head.headers.get("x-content-type-options"), "nosniff");
  assert.match(head.headers.get("content-security-policy")!, /^default-src 'none'; /);
  assert.deepEqual(await (await server.fetch("/thing/")).json(), { some: "thing" });
  const put = await server.fetch("/thing", { method: "PUT", body: "x" });
  assert.equal(put.status, 405);
  assert.equal(put.headers.get("allow"), "GET, HEAD, POST");
  assert.match((await put.json()).error, /^PUT is not among the methods here: GET, HEAD, POST$/);
  const none = await server.fetch("/nothing%0ahere");
  assert.equal(none.status, 404);
  assert.match((await none.json()).error, /^GET \/nothing\\nhere: /);
  const broken = await server.fetch("/broken");
  assert.equal(broken.status, 500);
  assert.deepEqual(await broken.json(), { error: "out of order" });
  assert.deepEqual(server.lines, ["GET /broken: out of order"]);
});

Deno.test("a request that names another host is refused with 421", async () => {
  await using server = await setup({ allowedHost: "proxy.example, Other.example" });
  const status = (host: string) => server.status("GET", { host });
  for (
    const host of [
      "localhost",
      "127.0.0.1:1",
      "127.1.2.3",
      "localhost.",
      "x.localhost",
      "[::1]:80",
      "proxy.example",
      "other.example:443",
    ]
  ) {
    assert.equal(await status(host), 200, host);
  }
  for (
    const host of [
      "evil.example",
      "evil.example:80",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "evillocalhost",
      "192.0.2.1",
      "xproxy.example",
    ]
  ) {
    assert.equal(await status(host), 421, host);
  }
  for (const host of ["a b", "evil.example/@localhost"]) {
    const answered = await status(host);
    assert(answered === 400 || answered === 421, `${host}: ${answered}`);
  }
  const answer = await server.exchange(
    "GET /thing HTTP/1.1\nHost: evil.example\nConnection: close\n\n",
  );
  assert.match(
    answer,
    /does not answer to the name 'evil\.example'; .*--allowed-host evil\.example/,
  );

  await using open = await setup({ host: "0.0.0.0" });
  assert.equal(await open.status("GET", { host: "192.0.2.1:80" }), 200);
  assert.equal(await open.status("GET", { host: "evil.example" }), 421);
});

Deno.test("what a page of another origin sends is refused with 403, links are followed", async () => {
  await using server = await setup();
  const own = `http://127.0.0.1:${server.port}`;
  const link = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
  const cases: [string, Record<string, string>, number][] = [
    ["POST", {}, 200],
    ["POST", { origin: own, "sec-fetch-site": "same-origin" }, 200],
    ["GET", { "sec-fetch-site": "none" }, 200],
    ["GET", { "sec-fetch-site": "cross-site", ...link }, 200],
    ["GET", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }, 403],
    ["GET", { "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" }, 403],
    ["POST", { "sec-fetch-site": "cross-site", ...link }, 403],
    ["POST", { origin: "https://evil.example" }, 403],
    ["POST", { origin: "http://127.0.0.1:1" }, 403],
    ["POST", { origin: "null" }, 403],
    ["GET", { origin: "https://evil.example" }, 403],
  ];
  for (const [method, headers, status] of cases) {
    const length: Record<string, string> = method === "POST" ? { "content-length": "0" } : {};
    assert.equal(
      await server.status(method, { ...headers, ...length }),
      status,
      `${method} ${JSON.stringify(headers)}`,
    );
  }
});
