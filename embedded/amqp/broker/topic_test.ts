import assert from "node:assert/strict";
import fc from "fast-check";
import { TopicTrie } from "./topic.ts";

/** The specification's words as plainly as they can be put. */
function matches(pattern: string[], key: string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return key.length === 0;
  if (first === "#") return key.some((_, i) => matches(rest, key.slice(i))) || matches(rest, []);
  return key.length > 0 && (first === "*" || first === key[0]) && matches(rest, key.slice(1));
}

const words = (...extra: string[]) =>
  fc.array(fc.constantFrom("a", "b", "", ...extra), { maxLength: 6 })
    // One empty word alone looks like none.
    .map((list) => list.join(".") === "" ? [] : list);

Deno.test("the trie finds just the patterns that match", () => {
  fc.assert(
    fc.property(
      fc.array(words("*", "#"), { maxLength: 12 }),
      fc.array(fc.nat(11), { maxLength: 6 }),
      words(),
      (patterns, removed, key) => {
        const trie = new TopicTrie<number>();
        patterns.forEach((pattern, i) => trie.add(pattern.join("."), i));
        for (const i of removed) if (patterns[i]) trie.remove(patterns[i].join("."), i);
        const expected = patterns.map((_, i) => i)
          .filter((i) => !removed.includes(i) && matches(patterns[i]!, key));
        assert.deepEqual([...trie.match(key.join("."))].sort((a, b) => a - b), expected);
      },
    ),
    { numRuns: 3000 },
  );
});

Deno.test("the longest patterns of # and * are matched without trying all ways", () => {
  const longest = (unit: string) => unit.repeat(Math.floor(255 / unit.length)).replace(/\.$/, "");
  for (const unit of ["#.", "#.a.", "#.*.", "*.#.", "#.a.#.b."]) {
    const trie = new TopicTrie<string>();
    trie.add(longest(unit), "many");
    const start = performance.now();
    for (let i = 0; i < 20; i++) trie.match(longest("a.").slice(0, -1) + "b");
    const took = performance.now() - start;
    assert.ok(took < 400, `20 matches of ${unit} took ${took} ms`);
  }
});

Deno.test("a key costs no more for the patterns that it does not come near", () => {
  const trie = new TopicTrie<number>();
  for (let i = 0; i < 100_000; i++) trie.add(`a.${i}.#`, i);
  const start = performance.now();
  for (let i = 0; i < 1000; i++) assert.deepEqual([...trie.match(`a.${i}.b`)], [i]);
  const took = performance.now() - start;
  assert.ok(took < 500, `1,000 matches among 100,000 patterns took ${took} ms`);
});
