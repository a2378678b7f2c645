import assert from "node:assert/strict";
import { eventually } from "../../lib/testing.ts";
import { setup } from "../testing/worker.ts";

/** Tells of each call, and then does what the number says. */
const module = `
const later = () => setTimeout(() => { throw new Error("late"); }, 0);
export async function f({ payload: { url, odd }, number }) {
  await (await fetch(url + number)).text();
  const what = odd[number];
  if (what === "throws") throw new RangeError("no");
  if (what === "hangs") while (true);
  if (what === "crashes") { later(); await new Promise(() => {}); }
  if (what === "posts") self.postMessage({ status: "done", code: 7 });
  return number;
}
`;

/** Executes 2,000 tasks, each of which is called once whatever the others do. */
async function run(odd: Record<number, string>, args: string[]) {
  await using test = await setup({ "mod.ts": module });
  const calls: number[] = [];
  const all = Promise.withResolvers<void>();
  const options = { port: 0, hostname: "127.0.0.1", onListen() {} };
  await using server = Deno.serve(options, async ({ url }) => {
    const number = Number(new URL(url).pathname.slice(1));
    if (calls.push(number) === 2000) all.resolve();
    if (odd[number] === "waits for all") await all.promise;
    return new Response();
  });
  using _ = { [Symbol.dispose]: all.resolve }; // the server ends when it has answered
  const host = `127.0.0.1:${server.addr.port}`;
  const entry = { driver: "func", handler: "mod.f", permissions: { net: [host] } };
  const ids = await test.add(Array.from({ length: 2000 }, () => entry), {
    url: `http://${host}/`,
    odd,
  });
  await test.worker(["--max-attempts", "1", ...args]);
  const count = () => test.collections.results.countDocuments();
  await eventually(async () => assert.equal(await count(), ids.length), 60_000);
  const results = await test.collections.results.find().toArray();
  assert.deepEqual(
    calls.sort((a, b) => a - b),
    Array.from({ length: 2000 }, (_, index) => index + 1),
  );
  return {
    result: (number: number) => results.find(({ _id }) => _id === `t${number}`)!,
    results,
  };
}

Deno.test("what a function does wrong is its own: the others of its batch are each called once", async () => {
  const odd = { 600: "throws", 800: "hangs", 1000: "crashes", 1200: "throws", 1300: "posts" };
  const { results, result } = await run(odd, ["--time-limit", "3"]);
  const failed = results.filter(({ status }) => status === "failed").map(({ _id }) => _id);
  assert.deepEqual(failed.sort(), ["t1000", "t1200", "t1300", "t600", "t800"]);
  assert.equal(result(600).error, "RangeError: no");
  assert.equal(result(800).error, "mod.f took longer than 3 s");
  assert.match(result(1000).error!, /mod.f crashed: .*late/);
  assert.match(result(1300).error!, /a handler's result is what it returns/);
  for (const { _id, status, data } of results) if (status === "done") assert.equal(`t${data}`, _id);
});

Deno.test("nobody waits behind a function that takes long", async () => {
  const { results } = await run({ 1000: "waits for all" }, ["--concurrency", "2"]);
  assert(results.every(({ status }) => status === "done"));
});
