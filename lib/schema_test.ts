import assert from "node:assert/strict";
import { schemaOf } from "./schema.ts";
import { UsageError } from "./flags.ts";

/** A check by a schema, which may be a text that is none; and what was logged while it was made. */
async function made(schema: unknown) {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, typeof schema === "string" ? schema : JSON.stringify(schema));
  const logged: string[] = [];
  try {
    const check = await schemaOf(path, { warn: (text) => logged.push(text.replace(path, "FILE")) });
    return {
      logged,
      /** What is wrong with a text, or a value as JSON. */
      wrong(body: unknown): string | undefined {
        const text = typeof body === "string" ? body : JSON.stringify(body);
        return wrongWith(() => check(new TextEncoder().encode(text)));
      },
      wrongBytes: (...bytes: number[]) => wrongWith(() => check(new Uint8Array(bytes))),
    };
  } finally {
    await Deno.remove(path);
  }
}

function wrongWith(check: () => void): string | undefined {
  try {
    check();
  } catch (error) {
    assert.equal((error as Error).name, "BadMessage");
    const [, wrong] = /^does not conform to [\w-]+\.json: ([^]*)$/.exec((error as Error).message)!;
    return wrong;
  }
}

/** What is said of a schema that is none. */
async function refusal(schema: unknown): Promise<string> {
  let message = "";
  await assert.rejects(made(schema), (error: Error) => {
    assert(error instanceof UsageError);
    assert.doesNotMatch(error.message, /\n/);
    message = error.message.replace(/'\/\S*'/, "FILE");
    return true;
  });
  return message;
}

const person = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  required: ["user"],
  properties: {
    user: { type: "object", properties: { "first/name": { type: "string" } } },
    level: { enum: ["info", 1] },
    version: { const: 2 },
    pair: { prefixItems: [{ type: "number" }, { type: "string" }], items: false },
    tags: { uniqueItems: true },
    either: { anyOf: [{ type: "number" }, { type: "boolean" }] },
    when: { if: { type: "string" }, then: { minLength: 3 } },
  },
  additionalProperties: false,
};

Deno.test("what does not conform is said with its path, and what is wrong with it", async () => {
  const { wrong, wrongBytes, logged } = await made(person);
  assert.deepEqual(logged, []);
  assert.equal(
    wrong({ user: {}, level: 1, pair: [1, "x"], tags: [1, "1", { a: 1, b: 2 }] }),
    undefined,
  );
  const expected: [unknown, string][] = [
    [{}, "must have required property 'user'"],
    [[], "must be object"],
    [{ user: { "first/name": 7 } }, "/user/first~1name: must be string"],
    [{ user: {}, more: 1 }, "must NOT have additional properties: 'more'"],
    [{ user: {}, level: 2 }, '/level: must be equal to one of the allowed values: "info", 1'],
    [{ user: {}, version: 1 }, "/version: must be equal to constant: 2"],
    [{ user: {}, pair: [1, 2] }, "/pair/1: must be string"],
    [
      { user: {}, tags: [{ a: 1, b: [2] }, { b: [2], a: 1 }] },
      "/tags: must NOT have duplicate items",
    ],
    [{ user: {}, either: "x" }, "/either: must match a schema in anyOf"],
    [{ user: {}, when: "x" }, "/when: must NOT have fewer than 3 characters"],
    ["", "the body is not JSON: Unexpected end of JSON input"],
    ['{"user":', "the body is not JSON: Unexpected end of JSON input"],
    [
      '{"user": {}, "level": 1e400}',
      '/level: must be equal to one of the allowed values: "info", 1',
    ],
  ];
  for (const [body, message] of expected) assert.equal(wrong(body), message);
  assert.equal(wrongBytes(0xff), "the body is not UTF-8");
});

Deno.test("what unevaluatedProperties refuses is named", async () => {
  const { wrong } = await made({
    anyOf: [{ properties: { a: { const: 1 } }, required: ["a"] }, { properties: { b: true } }],
    unevaluatedProperties: false,
  });
  assert.equal(wrong({ a: 1, b: 2 }), undefined);
  assert.equal(wrong({ c: 1 }), "must NOT have unevaluated properties: 'c'");
});

Deno.test("true takes all that is JSON, false nothing", async () => {
  const [all, none] = [await made("true"), await made("false")];
  assert.equal(all.wrong("1"), undefined);
  assert.match(all.wrong("x")!, /^the body is not JSON/);
  assert.equal(none.wrong("1"), "boolean schema is false");
});

Deno.test("a schema that is none is refused, in one line that says why", async () => {
  const says = async (schema: unknown, pattern: RegExp) => {
    const message = await refusal(schema);
    assert.match(message, /^--schema: FILE is no schema: /);
    assert.match(message, pattern);
  };
  await says("{", /is not JSON/);
  for (const none of ["7", "[]", "null", '"x"']) {
    await says(none, /expected an object, true or false$/);
  }
  await says({ type: "strng" }, /\/type must be equal to one of the allowed values/);
  await says({ $schema: "http://json-schema.org/draft-07/schema#" }, /draft-07.*2020-12/);
  await says(
    { properties: { a: { pattern: "(" } } },
    /the pattern '\(' cannot be used: .*Unterminated group/,
  );
  await says({ pattern: "(?=x)" }, /unsupported/);
  await says({ format: "emial" }, /unknown format "emial"/);
  await says({ format: "url" }, /unknown format "url"/);
  await says('{"properties": {"__proto__": {"type": "string"}}}', /key '__proto__'/);
  await says("[".repeat(200) + "]".repeat(200), /nested more than 100 levels deep/);
});

Deno.test("what the validator would get wrong is refused", async () => {
  const unsupported: [unknown, RegExp][] = [
    [{ allOf: [{ $dynamicRef: "#a" }] }, /'\$dynamicRef' is not supported/],
    [{ unevaluatedItems: false }, /'unevaluatedItems' is not supported/],
    [{ $async: true }, /'\$async' is not supported/],
    [
      { anyOf: [{ if: true, else: {} }], unevaluatedProperties: false },
      /an 'if' without a 'then' is not supported beside/,
    ],
    [
      {
        $ref: "urn:uuid:deadbeef-4321-ffff-ffff-1234feebdaed",
        $defs: {
          a: {
            $id: "urn:uuid:deadbeef-4321-ffff-ffff-1234feebdaed",
            $defs: { b: { type: "string" } },
            $ref: "#/$defs/b",
          },
        },
      },
      /its references \(\$ref, \$id\) are not supported/,
    ],
  ];
  for (const [schema, why] of unsupported) assert.match(await refusal(schema), why);
  const names = ["$async", "unevaluatedItems", "if"];
  const { wrong } = await made({
    properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
    const: { $dynamicRef: "x" },
    unevaluatedProperties: { if: true, then: true },
  });
  assert.equal(wrong({ $dynamicRef: "x" }), undefined);
});

Deno.test("patterns mean what they do in ECMA-262", async () => {
  const patterns: [string, string[]][] = [
    ["^\\s$", ["\u00a0", "\v", "\ufeff", "a", " "]],
    ["^[\\sx]$", ["\u2028", "x", "y"]],
    ["^[^\\s]$", ["\u2003", "y"]],
    ["^\\S$", ["\u00a0", "y"]],
    ["^[\\S]$", ["\u00a0", "y", "😀"]],
    ["^.$", ["\r", "\u2028", "\n", "😀", "a"]],
    ["^[.]$", [".", "a"]],
    ["^[\\b]$", ["\b", "b"]],
    ["^[a\\-z]$", ["-", "b"]],
    ["^\\[.\\]$", ["[a]", "[\r]"]],
    ["^\\u{1f600}|\\u0041$", ["😀", "A", "B"]],
    ["^\\d+$", ["1", "\u0967"]],
    ["^\\p{Lu}\\w$", ["Éa", "ea"]],
    ["(?<=a)b$|(?<!x)c", ["ab", "b", "xc", "c"]],
    ["a$", ["a\n", "ba"]],
  ];
  for (const [pattern, texts] of patterns) {
    const { wrong } = await made({ pattern });
    for (const text of texts) {
      const conforms = wrong(JSON.stringify(text)) === undefined;
      assert.equal(conforms, new RegExp(pattern, "u").test(text), `${pattern} ${text}`);
    }
  }
  for (const none of ["\\a", "(?i)a", "[[:alpha:]]", "(?<a>b)\\k<a>", "\\ud83d\\ude00", "(a)\\1"]) {
    assert.match(await refusal({ pattern: none }), /the pattern '.*' cannot be used: /);
  }
});

Deno.test("a $ref leads to the schema itself, and nothing is fetched", async () => {
  let requests = 0;
  await using server = Deno.serve({ port: 0, onListen() {} }, () => {
    requests++;
    return Response.json({ type: "string" });
  });
  for (
    const ref of ["#/$defs/none", "other.json", `http://127.0.0.1:${server.addr.port}/a.json`]
  ) {
    assert.match(await refusal({ $ref: ref }), /can't resolve reference \S+ .*nothing is fetched/);
  }
  assert.equal(requests, 0);
  const { wrong } = await made({
    $defs: { name: { type: "string" }, named: { $id: "https://example.org/named", minLength: 2 } },
    properties: { a: { $ref: "#/$defs/name" }, b: { $ref: "https://example.org/named" } },
  });
  assert.equal(wrong({ a: "x", b: "xy" }), undefined);
  assert.equal(wrong({ a: 1 }), "/a: must be string");
  assert.equal(wrong({ b: "x" }), "/b: must NOT have fewer than 2 characters");
});

Deno.test("formats are asserted; a keyword that nobody knows is ignored, which is said", async () => {
  const { wrong, logged } = await made({
    properties: { at: { format: "date-time" }, mail: { format: "email" }, id: { format: "uuid" } },
    requierd: ["at"],
  });
  assert.deepEqual(logged, ['FILE: unknown keyword: "requierd"']);
  assert.equal(wrong({ at: "2026-02-28T12:00:00Z", mail: "a@example.org" }), undefined);
  assert.equal(wrong({ at: "2026-02-30T12:00:00Z" }), '/at: must match format "date-time"');
  assert.equal(wrong({ mail: "a" }), '/mail: must match format "email"');
  assert.equal(wrong({ id: "7" }), '/id: must match format "uuid"');
});

Deno.test("no body takes long: patterns, formats, references and items that double or square the time", async () => {
  const tree = { required: ["k"], properties: { x: { $ref: "#/$defs/tree" } } };
  const { wrong } = await made({
    $defs: { tree: { anyOf: [tree, { ...tree, minProperties: 1 }] } },
    properties: {
      text: { pattern: "^(a+)+$" },
      long: { pattern: "^(a{1,500}b?){1,2}$" },
      uri: { format: "uri" },
      items: { uniqueItems: true },
      tree: { $ref: "#/$defs/tree" },
    },
    patternProperties: { "^(y+)+$": { type: "number" } },
  });
  const deep = (levels: number, leaf: unknown): unknown =>
    levels === 0 ? leaf : { k: 1, x: deep(levels - 1, leaf) };
  const since = performance.now();
  const a = "a".repeat(100_000);
  assert.match(wrong({ text: `${a}!` })!, /^\/text: must match pattern/);
  assert.match(wrong({ long: a.repeat(20) })!, /^matching the pattern '.*' takes too long$/);
  assert.match(wrong({ uri: `http://${a}^` })!, /^\/uri: must match format/);
  assert.equal(wrong({ [`${"y".repeat(100_000)}!`]: "x" }), undefined);
  const items = Array.from({ length: 200_000 }, (_, n) => ({ n }));
  assert.equal(wrong({ items }), undefined);
  assert.match(wrong({ items: [...items, { n: 7 }] })!, /^\/items: must NOT have duplicate/);
  assert.equal(wrong({ tree: deep(90, { k: 1 }) }), undefined);
  assert.match(wrong({ tree: deep(90, {}) })!, /^it is nested in a way that takes too long/);
  assert.match(wrong("[".repeat(1e6))!, /^the body is not JSON: nested more than 100 levels deep/);
  // Without the bounds it would be hours.
  assert(performance.now() - since < 20_000);
});

Deno.test("names that every object has are properties only where they were sent", async () => {
  const { wrong } = await made(
    '{"required": ["constructor"], "properties": {"constructor": true, "toString": {"type": "string"}}, "additionalProperties": false}',
  );
  assert.equal(wrong("{}"), "must have required property 'constructor'");
  assert.equal(wrong('{"constructor": 1}'), undefined);
  assert.match(
    wrong('{"constructor": 1, "__proto__": {"toString": 1}}')!,
    /^must NOT have additional properties: '__proto__'$/,
  );
  const named = await made({ required: ["__proto__"], propertyNames: { maxLength: 9 } });
  assert.equal(named.wrong("{}"), "must have required property '__proto__'");
  assert.equal(named.wrong('{"__proto__": 1}'), undefined);
});

Deno.test("a file that is not there is wrong usage, and without one all conforms", async () => {
  await assert.rejects(schemaOf("/no/such.json", { warn() {} }), (error: Error) => {
    assert(error instanceof UsageError);
    assert.match(error.message, /^--schema: cannot read '\/no\/such\.json': /);
    return true;
  });
  (await schemaOf("", { warn() {} }))(new Uint8Array([0xff]));
});
