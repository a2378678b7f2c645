/** What a function leaves behind in its thread: the thread is kept, and the next event must not suffer. */
import assert from "node:assert/strict";
import type { Outcome } from "./execution.ts";
import { createThreadPool } from "./thread_pool.ts";

/** Returns at once, and does what the payload says after it has told so. */
const module = `
const late = {
  throws() { throw new Error("late"); },
  rejects() { Promise.reject(new Error("late")); },
  closes() { self.close(); },
  hangs() { while (true); },
};
export function f({ payload: { channel, what } }) {
  if (what) setTimeout(() => { new BroadcastChannel(channel).postMessage(what); late[what](); }, 0);
  return what ?? "fine";
}
`;

/** A pool with one thread, and a way to learn that its function is about to do something late. */
async function setup() {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.writeTextFile(`${directory}/mod.ts`, module);
  const name = crypto.randomUUID();
  const channel = stack.adopt(new BroadcastChannel(name), (channel) => channel.close());
  const told = Promise.withResolvers<void>();
  channel.onmessage = () => told.resolve();
  const pool = stack.use(createThreadPool({ directory, timeLimit: 8000, keep: 1 }));
  const entry = { driver: "func", handler: "mod.f" };
  const owned = stack.move();
  return {
    /** Executes the function, as often as it takes until there is an outcome. */
    async execute(what?: string): Promise<Outcome> {
      let outcome: Outcome | undefined;
      const event = JSON.stringify({ payload: { channel: name, what } });
      const { signal } = new AbortController();
      for (let runs = 0; !outcome && runs < 3; runs++) {
        await pool.run([{ entry, event }], {
          signal,
          ended: (_, ended) => outcome = ended,
          left() {},
        });
      }
      return outcome ?? assert.fail("no outcome");
    },
    late: told.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

for (const what of ["throws", "rejects", "closes", "hangs"]) {
  Deno.test(`a thread whose function ${what} after it has returned is not used again`, async () => {
    await using test = await setup();
    assert.equal((await test.execute(what)).data, what);
    await test.late;
    const next = await test.execute();
    assert.deepEqual([next.status, next.data], ["done", "fine"], next.error);
    assert.equal((await test.execute()).data, "fine");
  });
}
