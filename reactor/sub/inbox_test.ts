import assert from "node:assert/strict";
import { createInbox } from "./inbox.ts";

Deno.test("an inbox is full when it holds many messages or large ones, and has room again", async () => {
  for (const [bytes, most] of [[10, 5000], [4_000_000, 20]] as const) {
    const inbox = createInbox(new AbortController().signal);
    let room: Promise<void> | undefined;
    let count = 0;
    while (!room && count <= most) {
      room = inbox.put([new Uint8Array(bytes)]);
      count++;
    }
    assert(room, `more than ${most} messages of ${bytes} bytes`);
    let taken = 0;
    while (taken < count) {
      const batch = inbox.take(500);
      assert(batch.length > 0 && batch.length * bytes < 20_000_000, `${batch.length} at once`);
      taken += batch.length;
    }
    await room;
    assert.equal(inbox.put([new Uint8Array(bytes)]), undefined);
  }
});
