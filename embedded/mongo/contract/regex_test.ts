/** Regular expressions as PCRE means them; the same on this store and, with `MONGO_URL` set, on a MongoDB. @module */
import assert from "node:assert/strict";
import { BSONRegExp } from "mongodb";
import { errorCode, setup } from "./harness.ts";

// deno-lint-ignore no-explicit-any
type Any = any; // the tests use ids of every type

/** Pattern, options, texts that match, texts that do not. */
const CASES: [string, string, string[], string[]][] = [
  ["^ab", "", ["abc"], ["cab", "Abc"]],
  ["^AB", "i", ["abc"], ["cab"]],
  ["stra\u00dfe", "i", ["STRA\u00dfE"], ["strasse"]],
  ["^b", "m", ["a\nb"], ["ab"]],
  ["a.b", "", ["a-b"], ["a\nb"]],
  ["a.b", "s", ["a\nb", "a\u{1f600}b"], ["ab"]],
  ["a b # all of it\n c", "x", ["abc"], ["a b c"]],
  ["[a b]{3}", "x", ["a b"], ["ab"]],
  ["(?i)AB", "", ["ab"], ["b"]],
  ["a(?i)b|c", "", ["aB"], ["AB"]],
  ["(?i:a)b", "", ["Ab"], ["AB"]],
  ["(?x) a b (?#comment)", "", ["ab"], ["a b"]],
  ["\\Qa.b\\E+", "", ["a.bb"], ["acb"]],
  ["^[[:alpha:]_]+$", "", ["ab_c"], ["a1"]],
  ["^[]a]+$", "", ["]a"], ["b"]],
  ["^[^]a]$", "", ["b"], ["]", "a"]],
  ["^\\p{Lu}\\pL+$", "", ["\u00c9a"], ["\u00e9a"]],
  ["^\\x{1F600}$", "", ["\u{1f600}"], ["x"]],
  ["^(?<year>\\d{4})-(?P<month>\\d\\d)$", "", ["2020-01"], ["20-1"]],
  ["^\\h+\\H$", "", ["\t x"], ["x"]],
  ["a\\Rb", "", ["a\r\nb", "a\nb"], ["ab"]],
  ["^\\N+$", "", ["ab"], ["a\nb"]],
  ["\\Aa\\z", "", ["a"], ["a\n", "ab"]],
  ["a\\Z", "", ["a", "a\n"], ["ab"]],
  ["\\e|\\cA", "", ["\x1b", "\x01"], ["e"]],
  ["\\_\\-\\/\\\u00e9", "", ["_-/\u00e9"], ["x"]],
  ["^a{2,3}?$", "", ["aa", "aaa"], ["a", "aaaa"]],
  ["a{,2}", "", ["a{,2}"], ["aa"]],
  ["(?<=a)b", "", ["ab"], ["cb"]],
  ["(?<!a)b", "", ["cb"], ["ab"]],
  ["^(?!a)", "", ["b", ""], ["a"]],
  ["^(?!.*foo).*bar", "", ["a bar"], ["foo bar", "bar foo"]],
  ["^(?=.*\\d)(?=.*[a-z])(?!.*[()|]).{4,}$", "", ["abc1"], ["abcd", "1234", "a1", "ab(1"]],
  ["^((?!foo).)*$", "", ["bar", "", "fo"], ["a foo", "a\nb"]],
  ["^(?:(?!foo|(b)ar).)+$", "i", ["ba"], ["aFOO", "Bar", ""]],
];

Deno.test("regular expressions mean what PCRE means", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  const texts = [...new Set(CASES.flatMap(([, , yes, no]) => [...yes, ...no]))];
  await c.insertMany(texts.map((_id) => ({ _id, t: _id })));
  for (const [pattern, options, yes, no] of CASES) {
    const matching = async (filter: Any) => {
      const found = (await c.find(filter).toArray()).map(({ _id }) => _id as string);
      for (const text of yes) assert.ok(found.includes(text), `${pattern} on ${text}`);
      for (const text of no) assert.ok(!found.includes(text), `${pattern} on ${text}`);
    };
    await matching({ t: { $regex: pattern, $options: options } });
    await matching({ t: new BSONRegExp(pattern, options) });
    await matching({ t: { $in: [new BSONRegExp(pattern, options)] } });
    await matching({ $expr: { $regexMatch: { input: "$t", regex: pattern, options } } });
  }
});

Deno.test("what is no regular expression is an error", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ t: "a" });
  for (const pattern of ["(", "[a", "*a", "a**", "(?<n", "a{2,1}", "\\p{Nonesuch}"]) {
    assert.equal(await errorCode(c.find({ t: { $regex: pattern } }).toArray()), 51091, pattern);
  }
  assert.equal(await errorCode(c.find({ t: { $regex: "a", $options: "q" } }).toArray()), 51108);
});

Deno.test("$regexFind and $regexFindAll give matches, their places in code points, and captures", async () => {
  await using it = await setup();
  const c = it.client.db(it.name).collection<Any>("c");
  await c.insertOne({ _id: 1, t: "\u{1f600} a1, b\u00e9 22", n: 5 });
  const value = async (expression: Any) =>
    (await c.aggregate([{ $project: { _id: 0, v: expression } }]).next())!.v;
  const search = { input: "$t", regex: "([a-z])(\\d+)?" };
  assert.deepEqual(await value({ $regexFind: search }), {
    match: "a1",
    idx: 2,
    captures: ["a", "1"],
  });
  assert.deepEqual(await value({ $regexFindAll: search }), [
    { match: "a1", idx: 2, captures: ["a", "1"] },
    { match: "b", idx: 6, captures: ["b", null] },
  ]);
  assert.deepEqual(
    await value({ $regexFindAll: { input: "ab", regex: "x*" } }).then((all: Any[]) =>
      all.map(({ idx }) => idx)
    ),
    [0, 1],
  );
  assert.equal(
    await value({ $regexFind: { input: "$t", regex: new BSONRegExp("A1", "i") } })
      .then(({ match }: Any) => match),
    "a1",
  );
  assert.equal(await value({ $regexFind: { input: "$t", regex: "z" } }), null);
  assert.equal(await value({ $regexMatch: { input: "$none", regex: "z" } }), false);
  assert.deepEqual(await value({ $regexFindAll: { input: null, regex: "z" } }), []);
  const codes: [Any, number][] = [
    [{ $regexMatch: { input: "$n", regex: "a" } }, 51104],
    [{ $regexMatch: { input: "$t", regex: 1 } }, 51105],
    [{ $regexMatch: { input: "$t", regex: "a", options: 1 } }, 51106],
    [{ $regexMatch: { input: "$t", regex: new BSONRegExp("a", "i"), options: "i" } }, 51107],
    [{ $regexMatch: { input: "$t", regex: "a", options: "q" } }, 51108],
    [{ $regexMatch: { input: "$t", regex: "(" } }, 51111],
  ];
  for (const [expression, code] of codes) {
    assert.equal(await errorCode(value(expression)), code, JSON.stringify(expression));
  }
});
