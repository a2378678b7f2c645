import assert from "node:assert/strict";
import { transfer } from "./transfer.ts";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "event-sink-transfer-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const [source, target] = [`${directory}/source`, `${directory}/target`];
  await Deno.mkdir(source);
  const put: Record<string, string> = {};
  const server = stack.use(
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const { pathname } = new URL(request.url);
      if (request.method === "PUT") {
        put[pathname] = await request.text();
        return new Response(null, { status: 201 });
      }
      const status = { "/gone": 404, "/busy": 503 }[pathname];
      if (status) return new Response(null, { status });
      if (pathname !== "/endless") return new Response("some content");
      return new Response(
        new ReadableStream({ pull: (out) => out.enqueue(new Uint8Array(65_536)) }),
      );
    }),
  );
  const owned = stack.move();
  return {
    ...{ directory, source, target, put },
    url: `http://127.0.0.1:${server.addr.port}`,
    files: () => [...Deno.readDirSync(target)].map(({ name }) => name),
    upload: async (uri: string, more = {}) =>
      (await transfer({ target, source, sizeLimit: 1e6, timeLimit: 5, ...more }))({
        type: "",
        uri,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("an upload copies from http or file into the directory, under one name however often", async () => {
  await using test = await setup();
  await test.upload(`${test.url}/a/thesis.pdf?x=1`);
  await test.upload(`${test.url}/a/thesis.pdf?x=1`);
  const [name, ...others] = test.files();
  assert.match(name!, /^[0-9a-f]{16}-thesis\.pdf$/);
  assert.deepEqual(others, []);
  assert.equal(await Deno.readTextFile(`${test.target}/${name}`), "some content");
  await Deno.writeTextFile(`${test.source}/b`, "b");
  await test.upload(`file://${test.source}/b`);
  assert.equal(test.files().length, 2);
});

Deno.test("an upload puts to a URL", async () => {
  await using test = await setup();
  await test.upload(`${test.url}/a`, { target: `${test.url}/store/` });
  const [[path, content]] = Object.entries(test.put) as [[string, string]];
  assert.match(path, /^\/store\/[0-9a-f]{16}-a$/);
  assert.equal(content, "some content");
});

Deno.test("an upload that cannot be done leaves nothing, and says whether to try again", async () => {
  await using test = await setup();
  await Deno.writeTextFile(`${test.directory}/outside`, "secret");
  await Deno.symlink(`${test.directory}/outside`, `${test.source}/link`);
  const final: [string, RegExp][] = [
    ["nonsense", /expected http, https, or file/],
    ["ftp://x/y", /expected http, https, or file/],
    [`${test.url}/gone`, /404/],
    [`${test.url}/endless`, /more than 1000000 bytes/],
    [`file://${test.directory}/outside`, /not inside --source/],
    [`file://${test.source}/../outside`, /not inside --source/],
    [`file://${test.source}/link`, /not inside --source/],
    [`file://${test.source}/none`, /no such file/],
    [`file://${test.source}`, /not inside --source|no file/],
  ];
  for (const [uri, message] of final) {
    await assert.rejects(test.upload(uri), { name: "BadMessage", message }, uri);
  }
  await assert.rejects(test.upload(`${test.url}/busy`), { name: "Error", message: /503/ });
  const slow = { timeLimit: 0.1, sizeLimit: 1e15 };
  await assert.rejects(test.upload(`${test.url}/endless`, slow), { name: "TimeoutError" });
  assert.deepEqual(test.files(), []);
});
