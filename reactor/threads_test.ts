import assert from "node:assert/strict";
import { eventually } from "../lib/testing.ts";
import { setup } from "./worker_testing.ts";

/** Tells of each call, and then does what the number says. */
const module = `
const later = () => setTimeout(() => { throw new Error("late"); }, 0);
export async function f({ payload: { url, odd }, number }) {
  await (await fetch(url + number)).text();
  const what = odd[number];
  if (what === "throws") throw new RangeError("no");
  if (what === "hangs") while (true);
  if (what === "sleeps") await new Promise((resolve) => setTimeout(resolve, 3000));
  if (what === "crashes") { later(); await new Promise(() => {}); }
  if (what === "posts") self.postMessage({ status: "done", code: 7 });
  return number;
}
`;

/** Executes 2,000 tasks, each of which is called once whatever the others do. */
async function run(odd: Record<number, string>, args: string[]) {
  await using test = await setup({ "mod.ts": module });
  const calls: number[] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, ({ url }) => {
    calls.push(Number(new URL(url).pathname.slice(1)));
    return new Response();
  });
  const host = `127.0.0.1:${server.addr.port}`;
  const entry = { driver: "func", handler: "mod.f", permissions: { net: [host] } };
  const ids = await test.add(Array.from({ length: 2000 }, () => entry), {
    url: `http://${host}/`,
    odd,
  });
  await test.worker(["--max-attempts", "1", ...args]);
  const count = () => test.collections.results.countDocuments();
  await eventually(async () => assert.equal(await count(), ids.length), 20_000);
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
  const odd = { 1000: "sleeps" };
  const { results, result } = await run(odd, ["--concurrency", "2"]);
  const slow = result(1000);
  assert(+slow.finished - +slow.started >= 2900);
  const late = results.filter(({ finished }) => finished >= slow.finished).map(({ _id }) => _id);
  assert.deepEqual(late, ["t1000"]);
});
