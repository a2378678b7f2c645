import assert from "node:assert/strict";
import { curveKeyPair } from "zeromq";
import { startTool } from "../lib/testing.ts";
import { freePort, sampleConfig } from "./testing/router.ts";

type Config = ReturnType<typeof sampleConfig> & Record<string, unknown>;

/** Starts a router with a configuration. */
async function start(content: string) {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(file, content);
  const router = startTool("reactor", "router", ["-c", file], { MONGO_URL: "" });
  return {
    ...router,
    file,
    async [Symbol.asyncDispose]() {
      await router[Symbol.asyncDispose]();
      await Deno.remove(file);
    },
  };
}

/** Its output, all of it, of a start that fails. */
async function failing(content: string) {
  await using router = await start(content);
  return { ...await router.ended(), file: router.file };
}

/** The sample with a change. */
function changed(change: (config: Config) => void): string {
  const config = sampleConfig({ pull: freePort(), rep: freePort(), pub: freePort() });
  change(config);
  return JSON.stringify(config);
}

Deno.test("router names what it cannot use of its configuration, in one line, and ends with 2", async () => {
  const feeder = (more: object) => [{ namespace: "local", handler: "ZMQInput", ...more }] as never;
  const uri = "tcp://127.0.0.1:1";
  const cases: [string, string][] = [
    ['{"outputs": [}', "it is not JSON: Unexpected token '}' in line 1"],
    ["", "it is not JSON: Unexpected end of JSON input"],
    ["[]", "outputs: "],
    [changed((c) => c.outputs = []), "outputs: expected at least one output"],
    [changed((c) => delete (c as Record<string, unknown>).outputs), "outputs: "],
    [
      changed((c) => c.feeds.feeders = feeder({ namespace: "", config: { uri } })),
      "feeds.feeders.0.namespace: ",
    ],
    [
      changed((c) => c.feeds.feeders = feeder({ namespace: 7, config: { uri } })),
      "feeds.feeders.0.namespace: ",
    ],
    [
      changed((c) => c.feeds.feeders = feeder({ config: { uri: "nowhere" } })),
      "feeds.feeders.0.config.uri: expected tcp://host:port",
    ],
    [changed((c) => c.aggregator.config.port = 70_000), "aggregator.config.port: "],
  ];
  for (const [content, expected] of cases) {
    const { code, stdout, stderr, file } = await failing(content);
    assert(stderr.startsWith(`Cannot use the configuration '${file}': ${expected}`), stderr);
    assert.deepEqual([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], stderr);
  }
  await using missing = startTool("reactor", "router", ["-c", "/no/config.json"]);
  const { code, stderr } = await missing.ended();
  assert.match(stderr, /^Cannot use the configuration '\/no\/config\.json': No such file/);
  assert.equal(code, 2);
});

Deno.test("router names the address that it cannot listen on, and ends with 1", async () => {
  using listener = Deno.listen({ hostname: "0.0.0.0", port: freePort() });
  const { port } = listener.addr as Deno.NetAddr;
  const uri = `tcp://*:${port}`;
  const config = { uri, type: "zmq.REP" };
  const taken = [
    changed((c) => c.outputs[0]!.config.port = port),
    changed((c) => c.aggregator.config.port = port),
    changed((c) =>
      c.feeds.feeders = [{ namespace: "local", handler: "ZMQInput", config }] as never
    ),
  ];
  for (const content of taken) {
    const { code, stderr } = await failing(content);
    assert.equal(
      stderr.trimEnd().split("\n").at(-1),
      `Cannot listen on ${uri}: Address already in use`,
    );
    assert.equal(code, 1);
  }
});

Deno.test("router names the address that it cannot subscribe to, and ends with 1", async () => {
  const config = { uri: "tcp://portless", type: "zmq.SUB" };
  const { code, stderr } = await failing(
    changed((c) => c.feeds.feeders = [{ namespace: "n", handler: "ZMQInput", config }] as never),
  );
  assert.match(stderr, /^Cannot subscribe to tcp:\/\/portless: Invalid argument$/m);
  assert.equal(code, 1);
});

Deno.test("router warns of addresses that others reach, when it has no keys", async () => {
  const open = (config: Config) => config;
  const near = (config: Config) => {
    config.aggregator.config.listen_address = "127.0.0.1";
    config.outputs[0]!.config.listen_address = "127.0.0.1";
    config.feeds.feeders = [
      {
        namespace: "n",
        handler: "ZMQInput",
        config: { uri: `tcp://localhost:${freePort()}`, type: "REP" },
      },
      { namespace: "n", handler: "ZMQInput", config: { uri: "tcp://10.0.0.1:1", type: "SUB" } },
    ] as never;
  };
  const keys = (config: Config) => config.curve = { secret_key: curveKeyPair().secretKey };
  for (const [change, count] of [[open, 3], [near, 0], [keys, 0]] as const) {
    await using router = await start(changed(change));
    await router.seen(/Routing events/);
    const warned = /\[WRN\].*without CURVE.*: (.*)\n/.exec(router.output.stderr)?.[1] ?? "";
    assert.equal(warned.split(", ").filter(Boolean).length, count, router.output.stderr);
    for (const uri of warned.split(", ").filter(Boolean)) assert.match(uri, /^tcp:\/\/\*:\d+$/);
  }
});

Deno.test("router ignores what it does not know in its configuration, with a note each", async () => {
  await using router = await start(changed((c) => {
    c.plugins = { a: 1 };
    Object.assign(c.outputs[0]!.config, { compression: "zip" });
    Object.assign(c.logging, { file: "/var/log/x" });
  }));
  await router.seen(/Routing events/);
  for (const key of ["plugins", "outputs.0.config.compression", "logging.file"]) {
    assert(router.output.stderr.includes(`${key} means nothing here and is ignored`), key);
  }
});
