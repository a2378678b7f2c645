import assert from "node:assert/strict";
import { curveKeyPair } from "zeromq";
import { eventually, startTool } from "../../lib/testing.ts";
import { isKey, toZ85 } from "./curve.ts";
import { hasPythonZmq, lines, setup as setupRouter } from "../testing/router.ts";
import { setup as setupWorkers } from "../testing/worker.ts";

const ignore = !await hasPythonZmq();

type Keys = ReturnType<typeof curveKeyPair>;

/** A socket of this type with these keys, or with none; says when its handshake fails and what it is answered or sent. */
const client = `
import sys, zmq
from zmq.utils.monitor import recv_monitor_message
kind, uri, server, public, secret = sys.argv[1:]
socket = zmq.Context().socket(getattr(zmq, kind))
socket.LINGER = 0
if server:
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = \\
        server.encode(), public.encode(), secret.encode()
monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL |
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
if kind == "SUB": socket.subscribe(b"")
socket.connect(uri)
if kind != "SUB": socket.send_json({"event_type": "python." + kind})
if recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
    print("connected", flush=True)
else:
    print("refused", flush=True)
    kind = "refused " + kind
if kind == "PUSH":
    socket.LINGER = -1
    sys.exit()
while True: print(socket.recv().decode(), flush=True)
`;

/** A router with keys, no journal, and clients of every kind. */
async function setup(clientKeys?: string[]) {
  await using stack = new AsyncDisposableStack();
  const server = curveKeyPair();
  const router = stack.use(
    await setupRouter({
      change: (config) => config.curve = { secret_key: server.secretKey, client_keys: clientKeys },
    }),
  );
  const { ports, uri } = router;
  const process = await router.router();
  const workers = stack.use(await setupWorkers());
  const filters = `${workers.directory}/filters.json`;
  await Deno.writeTextFile(filters, '{"#:#":[{"driver":"shell","handler":"true"}]}');
  const owned = stack.move();
  const port = { PUSH: ports.pull, REQ: ports.rep, SUB: ports.pub };
  return {
    ...router,
    process,
    server,
    python(kind: "PUSH" | "REQ" | "SUB", keys?: Keys, serverKey = server.publicKey) {
      const args = keys ? [serverKey, keys.publicKey, keys.secretKey] : ["", "", ""];
      return router.client(client, kind, uri(port[kind]), ...args);
    },
    async keyFile({ publicKey, secretKey }: Keys): Promise<string> {
      const file = `${workers.directory}/${crypto.randomUUID()}.json`;
      const keys = { public_key: publicKey, secret_key: secretKey };
      await Deno.writeTextFile(file, JSON.stringify(keys));
      return file;
    },
    sub(...args: string[]) {
      const all = ["-c", workers.config, "-e", filters, "-u", uri(ports.pub), ...args];
      const env = { MONGO_URL: workers.mongoUrl };
      return owned.use(startTool("reactor", "sub", ["--log-level", "debug", ...all], env));
    },
    /** Waits for the task of an event. */
    tasksOf: (event_type: string) =>
      eventually(async () => {
        assert.equal(await workers.collections.tasks.countDocuments({ event_type }), 1);
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test(
  {
    name: "with a secret key in the configuration, clients that have the public key get through",
    ignore,
  },
  async () => {
    await using test = await setup();
    const subscriber = test.python("SUB", curveKeyPair());
    await subscriber.seen(/connected/);
    const sub = test.sub("--server-key", test.server.publicKey);
    await sub.seen(/Connected to/);
    // A subscription comes after the handshake: fired until it is there.
    await eventually(async () => {
      const fired = await test.fire("-e", "hello", "--server-key", test.server.publicKey);
      assert.equal(fired.code, 0, fired.stderr);
      assert.match(subscriber.output.stdout, /hello/);
    });
    await test.python("PUSH", curveKeyPair()).ended();
    await subscriber.seen(/"event_type": ?"python.PUSH"/);
    await test.python("REQ", curveKeyPair()).seen(/^\{.*"event_type": ?"python.REQ".*"timestamp"/m);
    await subscriber.seen(/"event_type": ?"python.REQ"/);
    const pull = ["-z", "PUSH", "-u", test.uri(test.ports.pull)];
    const pushed = await test.fire("-e", "pushed", "--server-key", test.server.publicKey, ...pull);
    assert.equal(pushed.code, 0, pushed.stderr);
    await subscriber.seen(/"event_type": ?"pushed"/);
    await test.tasksOf("python.PUSH");
    await test.tasksOf("pushed");
  },
);

Deno.test(
  {
    name: "without keys or with a wrong server key nothing gets through, and clients are told",
    ignore,
  },
  async () => {
    await using test = await setup();
    const wrong = curveKeyPair().publicKey;
    const refused = (["PUSH", "REQ", "SUB"] as const).flatMap((kind) => [
      test.python(kind),
      test.python(kind, curveKeyPair(), wrong),
    ]);
    for (const each of refused) await each.seen(/refused/);
    const pull = ["-z", "PUSH", "-u", test.uri(test.ports.pull)];
    const [rep, push, wrongRep, wrongPush] = await Promise.all([
      test.fire("-e", "a"),
      test.fire("-e", "a", ...pull),
      test.fire("-e", "a", "--timeout", "1", "--server-key", wrong),
      test.fire("-e", "a", "--timeout", "1", "--server-key", wrong, ...pull),
    ]);
    for (const { code, stderr } of [rep, push]) {
      assert.match(stderr, /^Cannot fire: no connection to tcp:.*: one side has CURVE keys/);
      assert.equal(code, 1);
    }
    for (const { code, stderr } of [wrongRep, wrongPush]) {
      assert.match(stderr, /^Cannot fire: no connection to tcp:.*is the server key the right one/);
      assert.equal(code, 1);
    }
    const without = await test.sub().ended();
    assert.match(without.stderr, /Cannot subscribe to tcp:.*one side has CURVE keys/);
    assert.equal(without.code, 1);
    await test.sub("--server-key", wrong).seen(/is the server key the right one/);

    const subscriber = test.python("SUB", curveKeyPair());
    await subscriber.seen(/connected/);
    await eventually(async () => {
      await test.fire("-e", "last", "--server-key", test.server.publicKey);
      assert.match(subscriber.output.stdout, /last/);
    });
    const received = lines(subscriber.output.stdout.replace("connected\n", ""));
    assert.deepEqual([...new Set(received.map(({ event_type }) => event_type))], ["last"]);
    for (const { output } of refused) assert.equal(output.stdout.replace(/refused\n/g, ""), "");
  },
);

Deno.test({ name: "with client_keys, only these clients are let in", ignore }, async () => {
  const [known, stranger] = [curveKeyPair(), curveKeyPair()];
  await using test = await setup([curveKeyPair().publicKey, known.publicKey]);
  const server = ["--server-key", test.server.publicKey];
  const keyFile = ["--key-file", await test.keyFile(known)];
  const subscriber = test.python("SUB", known);
  await subscriber.seen(/connected/);
  const sub = test.sub(...server, ...keyFile);
  await sub.seen(/Connected to/);
  await eventually(async () => {
    const fired = await test.fire("-e", "hello", ...server, ...keyFile);
    assert.equal(fired.code, 0, fired.stderr);
    assert.match(subscriber.output.stdout, /hello/);
  });

  const refused = (["PUSH", "REQ", "SUB"] as const).map((kind) => test.python(kind, stranger));
  for (const each of refused) await each.seen(/refused/);
  // Not even with another's public key: it takes the secret one, too.
  const forged = { publicKey: known.publicKey, secretKey: stranger.secretKey };
  const withForged = ["--key-file", await test.keyFile(forged)];
  for (const keys of [[], ["--key-file", await test.keyFile(stranger)], withForged]) {
    const { code, stderr } = await test.fire("-e", "a", "--timeout", "1", ...server, ...keys);
    assert.match(stderr, /^Cannot fire: no connection to tcp:/);
    if (keys !== withForged) assert.match(stderr, /does not know this client's key/);
    assert.equal(code, 1);
  }
  const unknown = await test.sub(...server).ended();
  assert.match(unknown.stderr, /Cannot subscribe to tcp:.*does not know this client's key/);
  assert.equal(unknown.code, 1);

  await test.python("PUSH", known).ended();
  await subscriber.seen(/"event_type": ?"python.PUSH"/);
  await test.python("REQ", known).seen(/^\{.*"event_type": ?"python.REQ".*"timestamp"/m);
  await test.tasksOf("python.PUSH");
  const types = lines(subscriber.output.stdout.replace("connected\n", ""))
    .map(({ event_type }) => event_type);
  assert.deepEqual(types.filter((type) => type.startsWith("python")), [
    "python.PUSH",
    "python.REQ",
  ]);
  assert(!types.includes("a"));
  const { stderr } = test.process.output;
  assert.doesNotMatch(stderr, /curve/); // every key of the configuration is known
  assert(stderr.includes(`its public key '${stranger.publicKey}' is not known`), stderr);
  test.process.kill("SIGTERM");
  assert.equal((await test.process.ended()).code, 0);
});

Deno.test("fire refuses keys that are none, and does not show them", async () => {
  const { publicKey, secretKey } = curveKeyPair();
  const server = ["--server-key", publicKey];
  const file = await Deno.makeTempFile();
  const cases: [string[], string, RegExp][] = [
    [["--server-key", publicKey.slice(1)], "", /^--server-key: expected a public key/],
    [["--key-file", file], "", /^--key-file is of no use without --server-key/],
    [[...server, "--key-file", `${file}.no`], "", /^--key-file: cannot read .*no such file/i],
    [[...server, "--key-file", file], secretKey, /^--key-file: cannot use .*expected \{ "public/],
    [[...server, "--key-file", file], `{"public_key":"${publicKey}"}`, /expected \{ "public/],
    [[...server, "--key-file", file], `{"secret_key":"${secretKey}"`, /expected \{ "public/],
  ];
  for (const [args, content, message] of cases) {
    await Deno.writeTextFile(file, content);
    await using fire = startTool("reactor", "fire", ["-e", "a", ...args]);
    const { code, stderr } = await fire.ended();
    assert.match(stderr, message);
    assert(!stderr.includes(secretKey.slice(0, 5)), stderr);
    assert.equal(code, 2);
  }
  await Deno.remove(file);
});

Deno.test("toZ85() and isKey() agree with the specification and with ZeroMQ", () => {
  // https://rfc.zeromq.org/spec/32/
  const bytes = new Uint8Array([0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b]);
  assert.equal(toZ85(bytes), "HelloWorld");
  for (let round = 0; round < 50; round++) assert(isKey(curveKeyPair().publicKey));
  const most = "%nSc0".repeat(8); // four bytes of 255 each
  assert.equal(toZ85(new Uint8Array(32).fill(255)), most);
  assert(isKey(most));
  for (const bad of ["", "0".repeat(39), "0".repeat(41), " ".repeat(40), "%nSc1".repeat(8)]) {
    assert.equal(isKey(bad), false, bad);
  }
});
