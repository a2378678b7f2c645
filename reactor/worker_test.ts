import assert from "node:assert/strict";
import { eventually, startTool } from "../lib/testing.ts";
import { alive, setup } from "./testing/worker.ts";

const shell = (handler: string, exclusive = false) => ({ driver: "shell", handler, exclusive });
const func = (handler: string) => ({ driver: "func", handler });

/** Notes that it began, and takes its time when the payload says so. */
const slow = `#!/usr/bin/env python3
import json, os, sys, time
payload = json.loads(sys.argv[-1])["payload"]
with open(payload["file"], "a") as f:
    f.write("begin %d %f\\n" % (os.getpid(), time.time()))
time.sleep(payload["seconds"])
with open(payload["file"], "a") as f:
    f.write("end %d %f\\n" % (os.getpid(), time.time()))
`;

Deno.test("worker executes each driver and writes its result", async () => {
  await using test = await setup({
    "say.sh": '#!/bin/sh\nprintf "%s|" "$@"; echo note >&2\n',
    "mod.ts": "export const f = (e: { payload: unknown }) => { console.log('hi'); return e; };",
    "existing.py": "def handle(event):\n    print('hi')\n    return {'got': event['payload']}\n",
  });
  await test.worker();
  const payload = { text: "$(touch x); `id` 'ü' \"q\"", "$key.x": [1, null] };
  const [say, f, py] = await test.add(
    [shell(`./say.sh "two words" three`), func("mod.f"), {
      driver: "pyfunc",
      handler: "existing.handle",
    }],
    payload,
  );
  const said = await test.result(say!);
  const event = { namespace: "local", event_type: "zmq.test", payload, number: 1 };
  assert.deepEqual(
    [said.status, said.code, said.data, said.log, said.error, said.attempts],
    ["done", 0, `two words|three|${JSON.stringify(event)}|`, "note\n", null, 1],
  );
  assert.deepEqual([said.handler, said.driver], [`./say.sh "two words" three`, "shell"]);
  assert(said.started <= said.finished && +said.expires - +said.finished === 48 * 3600_000);
  assert.deepEqual(
    JSON.parse(said.event as string), // a key with a dollar sign
    event,
  );
  const called = await test.result(f!);
  assert.deepEqual([called.status, called.code, called.log], ["done", 0, "hi\n"]);
  assert.deepEqual(JSON.parse(called.data as string).payload, payload);
  const python = await test.result(py!);
  assert.deepEqual([python.status, python.code, python.log], ["done", 0, "hi\n"]);
  assert.deepEqual(JSON.parse(python.data as string), { got: payload });
});

Deno.test("worker executes commands where there is no setpriv", async () => {
  await using test = await setup({ "say.sh": "#!/bin/sh\necho said\n" });
  await test.worker([], test.mongoUrl, { PATH: "/nonexistent" });
  const [id] = await test.add([shell("./say.sh")]);
  const { status, data, error } = await test.result(id!);
  assert.deepEqual([status, data, error], ["done", "said\n", null]);
});

Deno.test("worker kills what takes too long, and leaves no process behind", async () => {
  await using test = await setup({
    "hang.sh": "#!/bin/sh\nsleep 1000 &\necho $$ $! > pids\nwait\n",
    "left.sh": "#!/bin/sh\nsleep 1000 &\necho $! > left\n",
    "hang.py":
      "import os, subprocess\ndef f(event):\n    p = subprocess.Popen(['sleep', '1000'])\n    open('pypids', 'w').write('%d %d\\n' % (os.getpid(), p.pid))\n    p.wait()\n",
    "loop.ts": "export function f() { while (true); }\nexport const ok = () => 1;",
  });
  await test.worker(["--time-limit", "1.5", "--max-attempts", "1"]);
  const ids = await test.add([
    shell("./hang.sh"),
    { driver: "pyfunc", handler: "hang.f" },
    func("loop.f"),
  ]);
  for (const id of ids) {
    const { status, error } = await test.result(id);
    assert.deepEqual([status, /took longer than 1.5 s/.test(error!)], ["failed", true], error!);
  }
  for (const file of ["pids", "pypids"]) {
    const [line] = await test.lines(file);
    for (const pid of line!.split(" ")) {
      await eventually(async () => assert.equal(await alive(Number(pid)), false, file));
    }
  }
  const [left, ok] = await test.add([shell("./left.sh"), func("loop.ok")]);
  assert.equal((await test.result(left!)).status, "done");
  const [pid] = await test.lines("left");
  await eventually(async () => assert.equal(await alive(Number(pid)), false));
  assert.equal((await test.result(ok!)).data, 1);
});

Deno.test("worker tries a failing handler again, and says why it failed in the end", async () => {
  await using test = await setup({
    "fail.sh": "#!/bin/sh\necho x >> runs\necho broken >&2\nexit 3\n",
    "third.sh": "#!/bin/sh\necho x >> third\n[ $(wc -l < third) -ge 3 ]\n",
    "mod.ts":
      "export const f = () => { throw new RangeError('no'); };\nexport const late = () => new Promise(() => { setTimeout(() => { throw new Error('late'); }, 10); });",
    "mod.py": "def f(event):\n    raise KeyError('no')\n",
  });
  await test.worker(["--max-attempts", "3", "--retry-delay", "0.05"]);
  const [failing, third, ts, late, py] = await test.add([
    shell("./fail.sh"),
    shell("./third.sh"),
    func("mod.f"),
    func("mod.late"),
    { driver: "pyfunc", handler: "mod.f" },
  ]);
  const failed = await test.result(failing!);
  assert.deepEqual([failed.status, failed.code, failed.attempts], ["failed", 3, 3]);
  assert.equal(failed.error, "./fail.sh ended with code 3: broken");
  assert.equal((await test.lines("runs")).length, 3);
  const done = await test.result(third!);
  assert.deepEqual([done.status, done.attempts, done.error], ["done", 3, null]);
  assert.equal((await test.result(ts!)).error, "RangeError: no");
  assert.match((await test.result(late!)).error!, /mod.late crashed: .*late/);
  assert.match((await test.result(py!)).error!, /mod.f failed: KeyError: 'no'/);
});

Deno.test("worker fails a handler that cannot be run at once, and keeps files inside the directory", async () => {
  await using test = await setup({ "mod.ts": "export const f = () => 1;", "mod.py": "x = 1\n" });
  const outside = `${test.directory}/outside`;
  await Deno.writeTextFile(`${outside}.ts`, "export const f = () => 'escaped';");
  await Deno.writeTextFile(`${outside}.py`, "def f(event):\n    return 'escaped'\n");
  await Deno.symlink(`${outside}.ts`, `${test.directory}/handlers/link.ts`);
  await Deno.symlink(`${outside}.py`, `${test.directory}/handlers/link.py`);
  await Deno.symlink(test.directory, `${test.directory}/handlers/folder`);
  await test.worker();
  const expected: [string, string, RegExp][] = [
    ["func", "link.f", /its file is outside/],
    ["pyfunc", "link.f", /its file is outside/],
    ["func", "folder.outside.f", /its file is outside/],
    ["func", "../outside.f", /expected module.export/],
    ["pyfunc", "/etc/passwd.f", /expected module.export/],
    ["func", "missing.f", /there is no missing.ts/],
    ["func", "mod.toString", /exports no function 'toString'; it exports: f/],
    ["pyfunc", "mod.x", /exports no function 'x'/],
    ["pyfunc", "missing.f", /there is no missing.py/],
    ["telnet", "x", /Unknown driver 'telnet'/],
    ["shell", "./missing.sh", /Cannot run '.\/missing.sh'/],
    ["shell", "echo 'open", /is not closed/],
  ];
  const ids = await test.add(expected.map(([driver, handler]) => ({ driver, handler })));
  for (const [index, id] of ids.entries()) {
    const { status, error, attempts, data } = await test.result(id);
    assert.match(error!, expected[index]![2]);
    assert.deepEqual([status, attempts, data], ["failed", 1, null], error!);
  }
});

Deno.test("worker does not start without its directory of handlers", async () => {
  for (const directory of ["/nowhere", "/etc/hostname"]) {
    await using worker = startTool("reactor", "worker", ["--event-handlers", directory]);
    const { code, stderr } = await worker.ended();
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`^--event-handlers: cannot use '${directory}': `, "m"));
  }
});

Deno.test("worker gives a func handler the permissions of its entry, none by default", async () => {
  await using test = await setup({
    "mod.ts": `const tried = (name: string, act: () => unknown) => {
  try { act(); return name; } catch (error) { return (error as Error).name; }
};
export const f = async (e: { payload: Deno.ConnectOptions }) => [
  tried("read", () => Deno.readTextFileSync(new URL("mod.ts", import.meta.url))),
  tried("env", () => Deno.env.get("LOG_LEVEL")),
  tried("run", () => new Deno.Command("true").outputSync()),
  await Deno.connect(e.payload).then((c) => (c.close(), "net"), (error) => error.name),
];`,
  });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { hostname, port } = listener.addr as Deno.NetAddr;
  await test.worker(["--max-attempts", "1"]);
  const entry = func("mod.f");
  const [none, net, read, more] = await test.add([
    entry,
    { ...entry, permissions: { net: [`${hostname}:${port}`] } },
    { ...entry, permissions: { read: [`${test.directory}/handlers`] } },
    { ...entry, permissions: { write: true } },
  ], { hostname, port });
  const refused = "NotCapable";
  assert.deepEqual((await test.result(none!)).data, [refused, refused, refused, refused]);
  assert.deepEqual((await test.result(net!)).data, [refused, refused, refused, "net"]);
  assert.deepEqual((await test.result(read!)).data, ["read", refused, refused, refused]);
  assert.match((await test.result(more!)).error!, /Cannot give 'mod.f' its permissions/);
});

Deno.test("a handler sees PATH, HOME, LANG and the variables of its entry, and no others", async () => {
  const names = ["PATH", "HOME", "LANG", "MONGO_URL", "TOKEN", "OTHER"];
  await using test = await setup({
    "env.sh": `#!/bin/sh\nprintenv | sed -n 's/^\\(${names.join("\\|")}\\)=.*/\\1/p'\n`,
    "mod.py": `import os\ndef f(event):\n    return [n for n in ${
      JSON.stringify(names)
    } if n in os.environ]\n`,
    "mod.ts": `export const f = () => ${
      JSON.stringify(names)
    }.filter((n) => { try { return Deno.env.has(n); } catch { return false; } });`,
  });
  await test.worker([], undefined, { LANG: "C.UTF-8", TOKEN: "t", OTHER: "o" });
  const env = ["TOKEN", "UNSET"];
  const [sh, py, ts, shToken, pyToken, tsToken] = await test.add([
    shell("./env.sh"),
    { driver: "pyfunc", handler: "mod.f" },
    func("mod.f"),
    { ...shell("./env.sh"), env },
    { driver: "pyfunc", handler: "mod.f", env },
    { ...func("mod.f"), env },
  ]);
  const seen = async (id?: string) => {
    const { data, error } = await test.result(id!);
    assert.equal(error, null);
    return (typeof data === "string" ? data.trim().split("\n") : data as string[]).toSorted();
  };
  const always = ["HOME", "LANG", "PATH"];
  assert.deepEqual([await seen(sh), await seen(py), await seen(ts)], [always, always, []]);
  const more = [...always, "TOKEN"];
  assert.deepEqual([await seen(shToken), await seen(pyToken)], [more, more]);
  assert.deepEqual(await seen(tsToken), ["TOKEN"]);
});

Deno.test("an event that would be too large as a document stands in its result as text", async () => {
  await using test = await setup({ "mod.ts": "export const f = (e) => e.payload.length;" });
  await test.worker();
  // In BSON each of them takes some 13 bytes.
  const payload = Array(3_000_000).fill(1);
  const [large] = await test.add([func("mod.f")], payload);
  const [small] = await test.add([func("mod.f")]);
  const { status, data, event } = await test.result(large!);
  assert.deepEqual([status, data, typeof event], ["done", 3_000_000, "string"]);
  assert.equal((await test.result(small!)).status, "done");
});

Deno.test("worker cuts huge output with a note", async () => {
  await using test = await setup({
    "mod.ts":
      "export const f = () => { for (let i = 0; i < 1e5; i++) console.log('line', i); return 'x'.repeat(5e6); };",
    "mod.py": "def f(event):\n    print('y' * 5000000)\n    return 'ü' * 5000000\n",
  });
  await test.worker();
  const ids = await test.add([
    shell("python3 -c \"print('x' * 5000000)\""),
    func("mod.f"),
    { driver: "pyfunc", handler: "mod.f" },
  ]);
  for (const id of ids) {
    const { status, data, log = "" } = await test.result(id);
    assert.equal(status, "done");
    assert.match((data as string).slice(-50), /\n\[cut: 50000\d\d (bytes|characters) in all\]$/);
    assert((data as string).length < 66_000 && log.length < 66_000);
  }
});

Deno.test("a task of a killed worker goes to another when its lease ends", async () => {
  await using test = await setup({ "slow.py": slow });
  const first = await test.worker(["--lease", "2"]);
  const [id] = await test.add([shell("./slow.py")], { file: "times", seconds: 3 });
  await eventually(async () => assert.equal((await test.lines("times")).length, 1));
  const second = await test.worker(["--lease", "2"]);
  first.kill("SIGKILL");
  const { status, attempts } = await test.result(id!);
  assert.deepEqual([status, attempts], ["done", 2]);
  await second.seen(/slow.py for local:zmq.test: done/);
  // The first handler has died with its worker.
  const steps = (await test.lines("times")).map((line) => line.split(" ")[0]);
  assert.deepEqual(steps, ["begin", "begin", "end"]);
});

Deno.test("a worker that is stopped finishes what is short and gives back what is long", async () => {
  await using test = await setup({ "slow.py": slow });
  const first = await test.worker();
  const [short] = await test.add([shell("./slow.py")], { file: "short", seconds: 2 });
  const [long] = await test.add([shell("./slow.py")], { file: "long", seconds: 8 });
  await eventually(async () => assert.equal((await test.lines("long")).length, 1));
  first.kill("SIGTERM");
  const { code, stderr } = await first.ended();
  assert.equal(code, 0, stderr);
  assert.equal((await test.result(short!)).status, "done");
  const task = await test.collections.tasks.findOne({ _id: long! });
  assert.deepEqual([task?.status, task?.attempts, task?.token], ["pending", 0, undefined]);
  const pid = Number((await test.lines("long"))[0]!.split(" ")[1]);
  assert.equal(await alive(pid), false);
});

Deno.test("an exclusive handler is executed once at a time over two workers", async () => {
  await using test = await setup({ "slow.py": slow });
  await test.worker();
  await test.worker();
  const entries = Array.from({ length: 8 }, () => shell("./slow.py", true));
  const ids = await test.add(entries, { file: "times", seconds: 0.2 });
  for (const id of ids) assert.equal((await test.result(id)).status, "done");
  const lines = (await test.lines("times")).map((line) => line.split(" ").slice(0, 2));
  assert.equal(lines.length, 16);
  for (let index = 0; index < 16; index += 2) {
    assert.deepEqual([lines[index]![0], lines[index + 1]![0]], ["begin", "end"]);
    assert.equal(lines[index]![1], lines[index + 1]![1]);
  }
  // A lock is given back after its task is over.
  await eventually(async () => assert.equal(await test.collections.locks.countDocuments(), 0));
});

Deno.test("an exclusive handler of a killed worker goes to another when the lease ends", async () => {
  await using test = await setup({ "slow.py": slow });
  const first = await test.worker(["--lease", "2"]);
  const ids = await test.add([shell("./slow.py", true), shell("./slow.py", true)], {
    file: "times",
    seconds: 1,
  });
  await eventually(async () => assert.equal((await test.lines("times")).length, 1));
  await test.worker(["--lease", "2"]);
  first.kill("SIGKILL");
  for (const id of ids) assert.equal((await test.result(id)).status, "done");
});

Deno.test("1,000 tasks are each executed once by three workers, one of which is stopped", async () => {
  await using test = await setup({ "mod.ts": "export const f = (e: unknown) => e;" });
  const workers = await Promise.all([test.worker(), test.worker(), test.worker()]);
  const ids = await test.add(Array.from({ length: 1000 }, () => func("mod.f")));
  await test.result(ids[200]!);
  workers[0]!.kill("SIGTERM");
  assert.equal((await workers[0]!.ended()).code, 0);
  await eventually(async () => {
    assert.equal(await test.collections.results.countDocuments({ status: "done" }), 1000);
  }, 60_000);
  await eventually(() => {
    const lines = workers.flatMap(({ output }) => output.stdout.match(/: done$/gm) ?? []);
    assert.equal(lines.length, 1000);
  });
  const twice = await test.collections.results.countDocuments({ attempts: { $ne: 1 } });
  assert.equal(twice, 0);
});

Deno.test("worker waits while MongoDB is away, and goes on", async () => {
  await using test = await setup({ "slow.py": slow });
  const worker = await test.worker([], test.cable.url);
  const [before] = await test.add([shell("./slow.py")], { file: "times", seconds: 2 });
  await eventually(async () => assert.equal((await test.lines("times")).length, 1));
  test.cable.cut("down");
  await worker.seen(/Cannot use MongoDB/);
  const [after] = await test.add([shell("true")]);
  test.cable.plug();
  await worker.seen(/MongoDB is back/);
  for (const id of [before!, after!]) {
    const { status, attempts } = await test.result(id);
    assert.deepEqual([status, attempts], ["done", 1]);
  }
});

Deno.test("an idle worker begins a new task at once", async () => {
  await using test = await setup({ "mod.ts": "export const f = () => Date.now();" });
  await test.worker();
  const waits: number[] = [];
  for (let round = 0; round < 5; round++) {
    await new Promise((resolve) => setTimeout(resolve, 300)); // the worker is asleep by then
    const [id] = await test.add([func("mod.f")]);
    const { added, started } = await test.result(id!);
    waits.push(+started - +added);
  }
  assert(waits.toSorted((a, b) => a - b)[2]! < 500, `${waits} ms`);
});
