import assert from "node:assert/strict";
import { startTool } from "../lib/testing.ts";
import { layTripwire } from "./testing/tripwire.ts";
import { setup as setupWorkers } from "./testing/worker.ts";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const workers = stack.use(
    await setupWorkers({
      "mod.ts":
        "export const ok = () => 'fine';\nexport const no = () => { throw new Error('no'); };",
    }),
  );
  const owned = stack.move();
  return {
    ...workers,
    async tasks(...args: string[]) {
      const env = { MONGO_URL: workers.mongoUrl };
      const tool = owned.use(startTool("reactor", "tasks", [...args, "-c", workers.config], env));
      return await tool.ended();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const func = (handler: string) => ({ driver: "func", handler });

Deno.test("tasks lists, shows, retries and purges by status, handler and event type", async () => {
  await using test = await setup();
  await test.worker(["--max-attempts", "1"]);
  const [ok, no] = await test.add([func("mod.ok"), func("mod.no")]);
  for (const id of [ok!, no!]) await test.result(id);

  const all = await test.tasks("list");
  assert.match(all.stdout, /done {4}\[t1\] local:zmq.test -> func mod.ok\n/);
  assert.match(
    all.stdout,
    /failed {2}\[t2\] local:zmq.test -> func mod.no: Error: no\n/,
  );
  for (
    const [flags, ids] of [
      [["--status", "failed"], ["t2"]],
      [["--handler", "mod.ok"], ["t1"]],
      [["--event-type", "local:zmq.test", "--limit", "1"], ["t2"]],
      [["--event-type", "other"], []],
      [["--event-type", "other:zmq.test"], []],
    ] as const
  ) {
    const { stdout } = await test.tasks("list", "--json", ...flags);
    const found = stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line).id);
    assert.deepEqual(found, ids, flags.join(" "));
  }
  const shown = JSON.parse((await test.tasks("show", "--json", "--id", "t1")).stdout);
  assert.deepEqual([shown.event.number, shown.result.data, shown.status], [1, "fine", "done"]);

  await test.write("mod.ts", "export const no = () => 'now it does';");
  assert.match((await test.tasks("retry")).stdout, /^1 task to run again/);
  const again = await test.result(no!);
  assert.deepEqual([again.status, again.data, again.attempts], ["done", "now it does", 1]);
  assert.match((await test.tasks("retry")).stdout, /nothing to retry/);

  assert.match(
    (await test.tasks("purge", "--yes", "--handler", "mod.no")).stdout,
    /Removed 1 task/,
  );
  const { tasks, results } = test.collections;
  assert.deepEqual((await tasks.find().toArray()).map(({ _id }) => _id), ["t1"]);
  assert.deepEqual((await results.find().toArray()).map(({ _id }) => _id), ["t1"]);
});

Deno.test("tasks refuses what it cannot do", async () => {
  await using test = await setup();
  const cases: [string[], number, RegExp][] = [
    [["lst"], 2, /unknown command 'lst'/],
    [["list", "--yes"], 2, /unknown option '--yes'/],
    [["list", "--status", "odd"], 2, /expected pending, running, done or failed/],
    [["retry", "--status", "running"], 2, /Cannot retry/],
    [["retry", "--id", "x"], 1, /There is no task 'x' that is failed/],
    [["show", "--id", "x"], 1, /There is no such task 'x'/],
    [["purge"], 2, /give --yes/],
    [["purge", "--yes", "--handler", ""], 2, /not an empty text/],
  ];
  for (const [args, code, message] of cases) {
    const ended = await test.tasks(...args);
    assert.match(ended.stderr, message);
    assert.equal(ended.code, code, args.join(" "));
  }
});

Deno.test("tasks gives up when MongoDB cannot be reached within --timeout, or goes away", async () => {
  await using test = await setup();
  const list = (url: string, timeout: string) =>
    startTool("reactor", "tasks", ["list", "-c", test.config, "--timeout", timeout], {
      MONGO_URL: url,
    });
  const nobody = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = nobody.addr as Deno.NetAddr;
  nobody.close();
  await using away = list(`mongodb://u:secret@127.0.0.1:${port}`, "0.5");
  const { code, stderr } = await away.ended();
  const last = stderr.trimEnd().split("\n").at(-1)!;
  assert.match(last, new RegExp(`^Cannot reach mongodb://127.0.0.1:${port} within 0.5 s`));
  assert.equal(code, 1);

  await using wire = layTripwire(test.mongoUrl, "createIndexes");
  await using lost = list(wire.url, "3");
  await wire.tripped;
  const ended = await lost.ended();
  assert.match(ended.stderr, /^Cannot reach mongodb:.* within 3 s/m);
  assert.equal(ended.code, 1);
});
