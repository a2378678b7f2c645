import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { UNREADABLE, withoutHeaders } from "./deep_headers.ts";

Deno.test("withoutHeaders() leaves all else of a message's properties as it was", () => {
  const short = (text: string) => [text.length, ...Buffer.from(text)];
  const long = (bytes: number[]) => [0, 0, bytes.length >> 8, bytes.length & 255, ...bytes];
  const frame = (flags: number, properties: number[]) => {
    const payload = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, flags >> 8, flags & 255, ...properties];
    return Buffer.from([2, 0, 7, ...long(payload), 0xce]);
  };
  const table = long([...short("a"), 0x56]);
  const marked = long([...short(UNREADABLE), 0x74, 1]);
  const behind = [2, ...short("id")];
  for (
    const [flags, before] of [
      [0x3080, []],
      [0xb080, short("text/plain")],
      [0xf080, [...short("text/plain"), ...short("gzip")]],
    ] as const
  ) {
    assert.deepEqual(
      withoutHeaders(Buffer.concat([frame(flags, [...before, ...table, ...behind]), Buffer.of(1)])),
      frame(flags, [...before, ...marked, ...behind]),
    );
  }
});
