import assert from "node:assert/strict";
import { eventually } from "../../lib/testing.ts";
import { parseFilters, watchFilters } from "./filters.ts";

const entry = { driver: "func", handler: "mod.f" };

function matches(pattern: string, namespace: string, event_type: string): boolean {
  return parseFilters(JSON.stringify({ [pattern]: [entry] }))({ namespace, event_type }).length > 0;
}

Deno.test("parseFilters() knows * as one word and # as any number of them", () => {
  const cases: [string, string, boolean][] = [
    ["local:zmq.test", "zmq.test", true],
    ["local:zmq.test", "zmq.test.more", false],
    ["local:zmq.*", "zmq.test", true],
    ["local:zmq.*", "zmq", false],
    ["local:zmq.*", "zmq.a.b", false],
    ["local:zmq.#", "zmq", true],
    ["local:zmq.#", "zmq.a.b", true],
    ["local:#.end", "end", true],
    ["local:#.end", "a.b.end", true],
    ["local:#.end", "a.b.end.c", false],
    ["local:*.#.b", "a.b", true],
    ["local:*.#.b", "b", false],
    ["local:#", "anything.at.all", true],
    ["*:#", "anything", true],
    ["#:zmq:test", "zmq:test", true],
    ["open*:zmq", "zmq", false],
    ["other:#", "zmq", false],
  ];
  for (const [pattern, type, expected] of cases) {
    assert.equal(matches(pattern, "local", type), expected, `${pattern} for ${type}`);
  }
  const long = `local:${"#.a.".repeat(30)}b`;
  const started = performance.now();
  assert.equal(matches(long, "local", "a.".repeat(2000) + "c"), false);
  assert(performance.now() - started < 1000);
});

Deno.test("parseFilters() returns every entry, and refuses what it cannot use", () => {
  const filters = parseFilters(
    JSON.stringify({ "a:b": [entry, { ...entry, exclusive: true, note: "x" }], "*:*": [entry] }),
  );
  assert.deepEqual(filters({ namespace: "a", event_type: "b" }), [
    { pattern: "a:b", index: 0, entry },
    { pattern: "a:b", index: 1, entry: { ...entry, exclusive: true } },
    { pattern: "*:*", index: 0, entry },
  ]);
  const refused: [unknown, RegExp][] = [
    [[], /the file/],
    [{ nocolon: [] }, /nocolon: expected '<namespace>:<event_type>'/],
    [{ "a:b": [{ driver: "func" }] }, /a:b.0.handler/],
    [{ "a:b": [{ ...entry, permissions: { nett: true } }] }, /permissions.nett/],
    [{ "a:b": [{ ...entry, permissions: { net: "x" } }] }, /permissions.net/],
  ];
  for (const [value, message] of refused) {
    assert.throws(() => parseFilters(JSON.stringify(value)), message);
  }
  assert.throws(() => parseFilters("{"), /not JSON/);
});

const quiet = {
  debug() {},
  info() {},
  warn() {},
  setLevel() {},
  written: () => Promise.resolve(),
};

Deno.test("watchFilters() takes a new file, and keeps the old one when the new one is broken", async () => {
  const directory = await Deno.makeTempDir();
  const file = `${directory}/event-handlers.json`;
  const said: string[] = [];
  const say = (text: string) => said.push(text);
  const log = { ...quiet, info: say, warn: say };
  const count = (type: string) => filters.match({ namespace: "a", event_type: type }).length;
  await Deno.writeTextFile(file, JSON.stringify({ "a:one": [entry] }));
  using filters = await watchFilters(file, log);
  assert.deepEqual([count("one"), count("two")], [1, 0]);
  await Deno.writeTextFile(file, '{ "a:two": [');
  await eventually(() => assert.match(said.join("\n"), /not JSON.*still using the old one/));
  assert.deepEqual([count("one"), count("two")], [1, 0]);
  await Deno.writeTextFile(`${file}.new`, JSON.stringify({ "a:two": [entry] }));
  await Deno.rename(`${file}.new`, file);
  await eventually(() => assert.deepEqual([count("one"), count("two")], [0, 1]));
  await Deno.remove(directory, { recursive: true });
});

Deno.test("watchFilters() misses no change while it starts", async () => {
  const directory = await Deno.makeTempDir();
  const file = `${directory}/event-handlers.json`;
  await Deno.writeTextFile(file, JSON.stringify({ "a:old": [entry] }));
  const { readTextFile } = Deno;
  // The file changes right after it was read for the first time.
  Deno.readTextFile = async (path) => {
    Deno.readTextFile = readTextFile;
    const text = await readTextFile(path);
    await Deno.writeTextFile(file, JSON.stringify({ "a:new": [entry] }));
    return text;
  };
  using filters = await watchFilters(file, quiet);
  await eventually(() =>
    assert.equal(filters.match({ namespace: "a", event_type: "new" }).length, 1)
  );
  await Deno.remove(directory, { recursive: true });
});
