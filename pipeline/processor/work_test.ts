import assert from "node:assert/strict";
import { withinLimit } from "./work.ts";

const never = new AbortController().signal;

/** Work that ends when its signal aborts, and tells so. */
function endless() {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  return {
    aborted: promise,
    work: (signal: AbortSignal) =>
      new Promise<void>((_, reject) =>
        signal.addEventListener("abort", () => {
          resolve(signal.reason);
          reject(signal.reason);
        })
      ),
  };
}

Deno.test("work whose start cannot be told is aborted", async () => {
  const { work, aborted } = endless();
  const failure = new Error("Cannot publish");
  const announced = Promise.reject(failure);
  await assert.rejects(withinLimit({ seconds: 60, signal: never, announced }, work), failure);
  assert.equal(await aborted, failure);
});

Deno.test("work that is done waits for its announcement, which the time limit is not for", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let done = false;
  const working = withinLimit(
    { seconds: 0.01, signal: never, announced: promise },
    () => Promise.resolve(),
  ).then(() => done = true);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(done, false);
  resolve();
  await working;
});

Deno.test("work is aborted at its time limit, and when the processor is stopped", async () => {
  const announced = Promise.resolve();
  const slow = endless();
  await assert.rejects(
    withinLimit({ seconds: 0.01, signal: never, announced }, slow.work),
    /^Error: the work took longer than 0\.01 s$/,
  );
  await slow.aborted;
  const stopped = endless();
  const stop = new AbortController();
  const working = withinLimit({ seconds: 60, signal: stop.signal, announced }, stopped.work);
  stop.abort(new Error("stopped"));
  await assert.rejects(working, /stopped/);
  await stopped.aborted;
});
