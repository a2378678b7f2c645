import assert from "node:assert/strict";
import { setup } from "./testing.ts";

Deno.test("priority-queue: what has the higher priority comes first", async () => {
  await using test = await setup();
  const mark = crypto.randomUUID();
  const sent = ["1 a", "9 b", "1 c", "0 d", "10 e"];
  for (const text of sent) {
    const priority = text.split(" ")[0]!;
    const send = test.tool("priority-queue", "send", "--priority", priority, mark, text);
    assert.equal((await send.ended()).code, 0);
  }
  const recv = test.tool("priority-queue", "recv");
  await recv.seen(new RegExp(`${mark} 0 d' with priority 0\n`));
  const got = recv.output.stdout.matchAll(new RegExp(`'${mark} (.*)' with priority (\\d+)\n`, "g"));
  assert.deepEqual([...got].map(([, text, priority]) => [text, priority]), [
    ["10 e", "10"],
    ["9 b", "9"],
    ["1 a", "1"],
    ["1 c", "1"],
    ["0 d", "0"],
  ]);
  const wrong = await test.tool("priority-queue", "send", "--priority", "11", "x").ended();
  assert.match(wrong.stderr, /^--priority: expected a whole number from 0 to 10, not '11'\n$/);
  assert.equal(wrong.code, 2);
});
