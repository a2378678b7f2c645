import assert from "node:assert/strict";
import fc from "fast-check";
import { lines, ranges } from "./lines.ts";

async function* chunks(parts: Uint8Array[]) {
  yield* parts;
}

Deno.test("lines() finds the same lines however the bytes are cut", async () => {
  const line = fc.uint8Array({ maxLength: 9 }).map((bytes) =>
    bytes.filter((byte) => byte !== 10 && byte !== 13)
  );
  await fc.assert(fc.asyncProperty(
    fc.array(line, { maxLength: 20 }),
    fc.array(fc.nat(200), { maxLength: 9 }),
    fc.constantFrom("\n", "\r\n"),
    async (expected, cuts, end) => {
      const ending = new TextEncoder().encode(end);
      const bytes = new Uint8Array(expected.flatMap((line) => [...line, ...ending]));
      const at = [
        0,
        ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b),
        bytes.length,
      ];
      const parts = at.slice(1).map((cut, index) => bytes.slice(at[index], cut));
      const found = await Array.fromAsync(lines(chunks(parts)));
      assert.deepEqual(found.map((line) => [...line]), expected.map((line) => [...line]));
    },
  ));
});

Deno.test("lines() takes a last line without an end, and an empty one as a message of 0 bytes", async () => {
  const bytes = new TextEncoder().encode("a\n\nb");
  const found = await Array.fromAsync(lines(chunks([bytes])));
  assert.deepEqual(found.map((line) => new TextDecoder().decode(line)), ["a", "", "b"]);
  assert.deepEqual(await Array.fromAsync(lines(chunks([]))), []);
});

Deno.test("ranges() says which lines", () => {
  assert.equal(ranges([7]), "line 7");
  assert.equal(ranges([3, 1, 2, 9, 11, 12]), "lines 1 to 3, 9, 11 to 12");
});
