import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { eventually, start } from "../lib/testing.ts";
import { setup } from "./testing/services.ts";

const MIB = 2 ** 20;

/** A content of this many bytes, as JSON. */
const sized = (bytes: number) => JSON.stringify("x".repeat(bytes - 2));

async function setupDatagen() {
  const test = await setup();
  await test.start("datagen");
  const api = `${test.url("datagen")}/api/objects`;
  return {
    ...test,
    api,
    send: (query: string, body?: BodyInit, headers?: HeadersInit, method = "POST") =>
      fetch(api + query, { method, body, headers }),
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
}

Deno.test("datagen answers bad requests with 4xx and a message", async () => {
  await using test = await setupDatagen();
  const { api, send } = test;
  const type = (type: string) => ({ "content-type": type });
  const cases: [() => Promise<Response>, number, RegExp][] = [
    [() => send("", "{"), 400, /^the body is not JSON/],
    [() => send("", "[".repeat(500_000)), 400, /^the body is not JSON: nested more than 100/],
    [() => send("", new Uint8Array([0x22, 0xff, 0x22])), 400, /^the body is not UTF-8/],
    [() => send("", "{}", type("text/xml")), 415, /^content type 'text\/xml' is not supported/],
    [() => send("", new FormData()), 415, /^content type 'multipart\/form-data'/],
    [() => send("", "{}", type("application/json; charset=latin1")), 415, /^charset=latin1/],
    [() => send("", "{}", { "content-encoding": "gzip" }), 415, /^content encoding 'gzip'/],
    [() => send("?count=-1"), 400, /^count: expected a whole number from 1 to 10000, not '-1'/],
    [() => send("?count=1.5"), 400, /^count: /],
    [() => send("?count="), 400, /^count: /],
    [() => send("", new Uint8Array(10_000_000)), 413, /^the body is larger than 1048576 bytes/],
    [() => send("", new Blob([new Uint8Array(10_000_000)]).stream()), 413, /^the body is larger/],
    [() => send("?count=600", sized(MIB)), 413, /^600 times this content is 629145600 bytes; the/],
    [() => fetch(`${api}/unknown`), 404, /^there is no object 'unknown'/],
    [() => fetch(`${api}?limit=0`), 400, /^limit: /],
    [() => fetch(`${api}?after=unknown`), 400, /^after: there is no object 'unknown'/],
    [() => fetch(`${test.url("datagen")}/api`), 404, /^GET \/api: /],
    [() => send("", undefined, {}, "DELETE"), 405, /^DELETE is not among the methods here: /],
    [() => send("", "{}", { origin: "https://evil.example" }), 403, /another origin/],
  ];
  for (const [request, status, error] of cases) {
    const answer = await request();
    const body = await answer.json();
    assert.equal(answer.status, status, body.error);
    assert.match(body.error, error);
  }
  assert.deepEqual(await (await fetch(api)).json(), []);
  for (const type of ["application/json", "application/ld+json; charset=UTF-8", "text/plain"]) {
    const answer = await send("", "{}", { "content-type": type });
    assert.equal(answer.status, 201, type);
    await answer.body?.cancel();
  }
  const [object] = await test.post();
  assert.deepEqual(await (await fetch(`${api}/${object!.id}`)).json(), object);
  // In chunks, and without a body as `curl -X POST` sends it, which fetch() does not.
  const [chunked] = await test.post("", new Blob(['{"in":"chunks"}']).stream());
  assert.deepEqual(chunked!.content, { in: "chunks" });
  const { hostname, port, host } = new URL(api);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const request = `POST /api/objects HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  assert.match(await new Response(connection.readable).text(), /^HTTP\/1\.1 201 /);
});

Deno.test("datagen gives numbers back as they came, and publishes them so", async () => {
  await using test = await setupDatagen();
  const content = '{"big":12345678901234567890,"price":1.10,"small":1e-7,"list":[-0,1.0]}';
  const created = await (await test.send("", content)).text();
  assert(created.endsWith(`,"content":${content}}`), created);
  const { id } = JSON.parse(created);
  assert.equal(await (await fetch(`${test.api}/${id}`)).text(), created);
  assert.equal(await (await fetch(test.api)).text(), `[${created}]`);
  const message = await test.probe.take("distributor_consume");
  assert(message.content.toString().includes(`"content":${content}`));
  await test.start("distributor", ["--tasks", "1"]);
  await test.send("", content).then((answer) => answer.body?.cancel());
  const task = await test.probe.take("process_consume");
  assert(task.content.toString().includes(`"content":${content}`));
});

Deno.test("datagen makes many large objects at once, and lists them in pages of bounded size", async () => {
  await using test = await setupDatagen();
  const made: string[] = [];
  for (const [count, bytes] of [[16, MIB], [10_000, 1000]]) {
    for (const { id } of await test.post(`?count=${count}`, sized(bytes!))) made.push(id);
  }
  assert.equal(made.length, 10_016);
  const listed: string[] = [];
  for (let url: string | undefined = test.api; url;) {
    const answer: Response = await fetch(url);
    const text = await answer.text();
    assert(text.length < 10 * MIB, `${text.length} bytes`);
    for (const { id } of JSON.parse(text)) listed.push(id);
    const next = /^<(.*)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1];
    url = next && new URL(next, url).href;
  }
  assert.deepEqual(listed, made.toReversed());
  const three = await fetch(`${test.api}?limit=3`);
  assert.equal((await three.json()).length, 3);
  assert.match(three.headers.get("link")!, /^<\/api\/objects\?limit=3&after=[\w-]+>; rel="next"$/);
});

Deno.test("datagen answers 500 when its database fails, stores nothing by halves, and lives on", async () => {
  await using test = await setup();
  const datagen = await test.start("datagen");
  using database = new DatabaseSync(`${test.directory}/objects.db`);
  database.exec("ALTER TABLE outbox RENAME TO elsewhere");
  const api = `${test.url("datagen")}/api/objects`;
  const answer = await fetch(api, { method: "POST" });
  assert.equal(answer.status, 500);
  assert.match((await answer.json()).error, /no such table: (main\.)?outbox/);
  await datagen.seen(/POST \/api\/objects: no such table/);
  database.exec("ALTER TABLE elsewhere RENAME TO outbox");
  assert.deepEqual(await (await fetch(api)).json(), []);
  await test.post();
});

Deno.test("datagen says on /health that the broker is away, and that it is back", async () => {
  await using test = await setup();
  await test.start("datagen");
  const health = async () => await (await fetch(`${test.url("datagen")}/health`)).json();
  await eventually(async () => assert.equal((await health()).broker, "connected"));
  test.cable.cut("down");
  await eventually(async () => {
    assert.match((await health()).broker, /^(Lost the connection to|Cannot connect: )/);
  });
  await test.post();
  assert.equal((await health()).unpublished, 1);
  test.cable.plug();
  await eventually(async () => {
    assert.deepEqual(await health(), { status: "ok", unpublished: 0, broker: "connected" });
  });
});

Deno.test("datagen and statistics keep their databases to their user, whatever the umask", async () => {
  await using test = await setup();
  for (const [service, file] of [["datagen", "objects.db"], ["statistics", "stats.db"]] as const) {
    await test.start(service);
    if (service === "datagen") await test.post();
    for (const name of [file, `${file}-wal`, `${file}-shm`]) {
      const { mode } = await Deno.stat(`${test.directory}/${name}`);
      assert.equal((mode! & 0o777).toString(8), "600", name);
    }
  }
});

Deno.test("datagen lives on when it runs out of file descriptors, and says so once", async () => {
  await using test = await setup();
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", import.meta.url)));
  const task = `${tasks.datagen} --port 0 --database ${test.directory}/objects.db`;
  await using datagen = start(["-c", `ulimit -n 64; exec ${task}`], {
    command: "/bin/sh",
    cwd: new URL(".", import.meta.url).pathname,
    env: { AMQP_URL: test.cable.url },
  });
  const [, port] = await datagen.seen(/http:\/\/127\.0\.0\.1:(\d+)/);
  const connections = await Promise.all(
    Array.from({ length: 100 }, () => Deno.connect({ port: Number(port) })),
  );
  await datagen.seen(/No connection can be accepted, .*ulimit -n/);
  await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/health`, {
      signal: AbortSignal.timeout(1000),
    });
    assert.equal((await answer.json()).status, "ok");
  });
  for (const connection of connections) connection.close();
  datagen.kill("SIGINT");
  const { code, stderr } = await datagen.ended();
  assert.equal(code, 0);
  assert.equal(stderr.match(/No connection can be accepted/g)!.length, 1);
});
