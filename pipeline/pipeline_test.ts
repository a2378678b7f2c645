import assert from "node:assert/strict";
import { connectProbe, start } from "../lib/testing.ts";

async function setup() {
  const directory = await Deno.makeTempDir();
  const files = ["--objects-database", `${directory}/objects.db`].concat(
    ["--statistics-database", `${directory}/stats.db`, "--data", `${directory}/embedded`],
  );
  return {
    directory,
    /** On an embedded stack of its own: the queues' names are the same for all. */
    pipeline: (...args: string[]) =>
      start(["task", "pipeline", ...files, "--statistics-port", "0", "--work", "0", ...args], {
        env: { AMQP_URL: "" },
      }),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

Deno.test("deno task pipeline shows objects on their way until Ctrl-C, and goes on where it stopped", async () => {
  await using test = await setup();
  await using first = test.pipeline("--port", "0", "--objects", "4");
  await first.seen(
    /^generated 4, distributed 12, waiting 0, in progress 0, processed 12, failed 0/m,
  );
  const [, url] = await first.seen(/Datagen is at (http:\/\/127\.0\.0\.1:\d+),/);
  await fetch(`${url}/api/objects`, { method: "POST" }).then((answer) => answer.body?.cancel());
  await first.seen(
    /^generated 5, distributed 15, waiting 0, in progress 0, processed 15, failed 0/m,
  );
  const [, amqpUrl] = await first.seen(/^export AMQP_URL=(amqp:\/\/\S+)$/m);
  assert.equal(await (await connectProbe(amqpUrl!)).count("process_consume"), 0);
  for (const drawn of ["\x1b", "█"]) assert(!first.output.stdout.includes(drawn));
  first.kill("SIGINT");
  const { code, stderr } = await first.ended();
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /WRN|rror/);

  await using second = test.pipeline("--port", "0", "--objects", "1", "--processors", "1");
  await second.seen(
    /^generated 6, distributed 18, waiting 0, in progress 0, processed 18, failed 0/m,
  );
  second.kill("SIGTERM");
  assert.equal((await second.ended()).code, 0);
});

Deno.test("a service that cannot start ends the pipeline with 1 and its words", async () => {
  await using test = await setup();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using pipeline = test.pipeline("--port", `${(taken.addr as Deno.NetAddr).port}`);
  const { code, stderr } = await pipeline.ended();
  assert.equal(code, 1);
  assert.match(stderr, /Cannot (start|go on).*Cannot listen on 127\.0\.0\.1:\d+: .*--port/);
});
