import assert from "node:assert/strict";
import {
  connectProbe,
  eventually,
  root,
  type Running,
  start,
  startServers,
  unique,
} from "../lib/testing.ts";
import { packagedTools } from "./tools.ts";

const tools = packagedTools();

/** Bundles or executables of tools, in a folder of their own. */
async function setup(...args: string[]) {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await using compiling = start(
    ["run", "-A", "deploy/compile.ts", "--output", directory, ...args],
    { env: { DENORT_BIN: Deno.execPath() } },
  );
  const { code, stderr } = await compiling.ended();
  assert.equal(code, 0, stderr);
  const owned = stack.move();
  return {
    directory,
    /** Runs a bundle as its task runs its source. */
    run(name: string, args: string[], env: Record<string, string> = {}): Running {
      const { permissions } = tools.find((tool) => tool.name === name)!;
      const flags = permissions.map((flag) => flag.replace(/=\$\(.*/, ""));
      const file = `${directory}/${name}/${name}.js`;
      return owned.use(start(["run", "--no-prompt", ...flags, file, ...args], { env }));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("every tool is one of the list, with a name of its own and the permissions of its task", () => {
  const names = tools.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (
    const name of [
      ...["consumer-echo", "consumer-echo-send", "consumer-mongo", "consumer-dead-letters"],
      ...["pipeline-datagen", "pipeline-processor", "reactor-router", "reactor-fire"],
      ...["products-admin", "elastic-scaler", "prototype-rpc-send", "event-sink-up"],
    ]
  ) assert(names.includes(name), name);
  for (const { name, permissions } of tools) {
    assert(permissions.length > 0 && !permissions.includes("-A"), name);
  }
});

Deno.test("every tool runs as a bundle, and its --help has its name", async () => {
  await using test = await setup("--bundle");
  for (const { name } of tools) {
    const { code, stdout, stderr } = await test.run(name, ["--help"]).ended();
    assert.deepEqual([code, stderr], [0, ""], name);
    assert.match(stdout, new RegExp(name === "event-sink-up" ? "up" : `^Usage: ${name} `));
  }
});

Deno.test("a bundle stores messages, says what is wrong, and ends on SIGTERM with 0", async () => {
  await using servers = await startServers();
  await using test = await setup("--bundle", "consumer-mongo", "consumer-mongo-send");
  const queue = unique("compiled");
  await using _probe = await connectProbe(servers.amqpUrl, { queues: [queue] });
  const env = { AMQP_URL: servers.amqpUrl, MONGO_URL: servers.mongoUrl };
  const args = ["--queue", queue, "--database", "test_compiled", "--status-port", "0"];
  const recv = test.run("consumer-mongo", args, env);
  await recv.seen(/Waiting for messages/);
  const sent = await test.run("consumer-mongo-send", ["hello"], env).ended();
  assert.deepEqual([sent.code, sent.stdout], [0, " [x] Sent 'hello'\n"]);
  const [, url] = await recv.seen(/\/metrics at (\S+)$/m);
  await eventually(async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /event_sink_batch_documents_count 1/);
  });
  recv.kill("SIGTERM");
  assert.equal((await recv.ended()).code, 0);
  const wrong = await test.run("consumer-mongo", ["--no-such-flag"], env).ended();
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /unknown option '--no-such-flag'/);
});

Deno.test("an executable holds what its tool uses, and little else", async () => {
  const names = ["prototype-send-recv", "consumer-mongo", "pipeline-statistics", "reactor-router"];
  await using test = await setup(...names);
  const base = (await Deno.stat(Deno.execPath())).size;
  for (const name of names) {
    const { size, mode } = await Deno.stat(`${test.directory}/${name}`);
    const added = (size - base) / 1e6;
    assert(added > 0.5 && added < (name === "reactor-router" ? 8 : 6), `${name}: ${added} MB`);
    assert(mode! & 0o100, "executable");
  }
});

Deno.test("compile says which tool or target it does not know", async () => {
  for (
    const [args, text] of [
      [["no-such-tool"], /There is no tool 'no-such-tool'/],
      [["--target", "pdp11"], /--target: expected x86_64-unknown-linux-gnu, .*not 'pdp11'/],
    ] as const
  ) {
    await using compiling = start(["run", "-A", "deploy/compile.ts", ...args], { cwd: root });
    const { code, stderr } = await compiling.ended();
    assert.equal(code, 2);
    assert.match(stderr, text);
  }
});
