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
  fc.array(fc.constantFrom("a", "b", "", ...extra), { minLength: 1, maxLength: 6 });

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

Deno.test("a pattern of many # is matched without trying all ways", () => {
  const trie = new TopicTrie<string>();
  trie.add("#.a.".repeat(20) + "#", "many");
  const start = performance.now();
  assert.deepEqual([...trie.match("a.".repeat(60) + "b")], ["many"]);
  assert.ok(performance.now() - start < 1000);
});
