import assert from "node:assert/strict";
import fc from "fast-check";
import { eventText, MAX_EVENT_BYTES, parseEvent, parseHead } from "./event.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const local = { namespace: "local" };

Deno.test("parseEvent() fills in namespace and timestamp and keeps every other field", () => {
  const { timestamp, ...event } = parseEvent(
    bytes('\uFEFF{"event_type":"a","payload":{"b":[1]},"more":null,"parent_event":"id"}'),
    local,
  );
  assert(Math.abs(timestamp - Date.now() / 1000) < 10);
  assert.deepEqual(event, {
    event_type: "a",
    payload: { b: [1] },
    more: null,
    parent_event: "id",
    namespace: "local",
  });
});

Deno.test("parseEvent() reads a date and time as seconds, in UTC unless it says otherwise", () => {
  const at = (timestamp: string) =>
    parseEvent(bytes(JSON.stringify({ event_type: "a", timestamp })), local).timestamp;
  assert.equal(at("1970-01-01 00:01:00.5"), 60.5);
  assert.equal(at("1970-01-01T01:01:00+01:00"), 60);
  assert.throws(() => at("yesterday"), /'timestamp' is neither/);
});

Deno.test("parseEvent() says what is wrong", () => {
  const bad: [string | Uint8Array, RegExp][] = [
    [new Uint8Array([0xff]), /not UTF-8/],
    ["{", /not JSON/],
    ["[]", /an array/],
    ["null", /is null/],
    ["7", /a number/],
    ["{}", /no 'event_type'/],
    ['{"event_type":7}', /'event_type' is not a text/],
    ['{"event_type":"a","namespace":7}', /'namespace' is not a text/],
    [JSON.stringify({ event_type: "x".repeat(1001) }), /'event_type' has 1001 characters, at most/],
    [JSON.stringify({ event_type: "a", namespace: "x".repeat(1e6) }), /'namespace' has 1000000/],
    [new Uint8Array(MAX_EVENT_BYTES + 1), /too large/],
    ['{"event_type":"a","parent_event":'.repeat(18) + "1" + "}".repeat(18), /more than 16 parents/],
  ];
  for (const [frame, pattern] of bad) {
    const input = typeof frame === "string" ? bytes(frame) : frame;
    assert.throws(() => parseEvent(input, local), pattern);
  }
});

Deno.test("parseHead() refuses an event that becomes too large when it is completed", () => {
  // Numbers such as 1e20 are longer when they are written anew.
  const payload = `[${Array(1_000_000).fill("1e20").join()}]`;
  const event = (timestamp: string) =>
    bytes(`{"event_type":"a","timestamp":${timestamp},"payload":${payload}}`);
  assert(parseHead(event("1"), local).length < MAX_EVENT_BYTES);
  assert.throws(() => parseHead(event('"2024-01-01"'), local), /too large/);
});

Deno.test("parseHead() and a number make the same event as parseEvent()", () => {
  fc.assert(fc.property(
    fc.dictionary(fc.string(), fc.jsonValue()),
    fc.option(fc.string({ minLength: 1 })),
    fc.boolean(),
    (more, namespace, numbered) => {
      const { timestamp: _, parent_event: __, ...rest } = more;
      const event = { ...rest, event_type: "a", namespace, timestamp: 1.5 };
      const frame = bytes(` ${JSON.stringify(numbered ? { ...event, number: 3 } : event)}\n`);
      const text = eventText(parseHead(frame, local), 7);
      assert.deepEqual(JSON.parse(text), { ...parseEvent(frame, local), number: 7 });
    },
  ));
});
