import assert from "node:assert/strict";
import { channelErrors } from "./channel_error.ts";
import { faults, numbers, outages } from "./faults.ts";

const targets = { "kill": ["a", "b"], "cut": ["a to broker"], "blocked": [] };

function first(count: number, seed: number) {
  const all = faults(numbers(seed), targets);
  return Array.from({ length: count }, () => all.next().value);
}

Deno.test("faults() are the same for the same seed, others for another, and of kinds with targets only", () => {
  assert.deepEqual(first(200, 7), first(200, 7));
  assert.notDeepEqual(first(200, 7), first(200, 8));
  assert.deepEqual(new Set(first(200, 7).map(({ kind }) => kind)), new Set(["kill", "cut"]));
});

Deno.test("outages() are the same for the same seed, of one node and of two different ones in turn", () => {
  function first(count: number, seed: number) {
    const all = outages(numbers(seed), ["a", "b", "c"]);
    return Array.from({ length: count }, () => all.next().value);
  }
  assert.deepEqual(first(100, 7), first(100, 7));
  assert.notDeepEqual(first(100, 7), first(100, 8));
  for (const [index, { nodes }] of first(100, 7).entries()) {
    assert.equal(new Set(nodes.map(({ name }) => name)).size, index % 2 + 1);
  }
});

/** A frame of a channel: a method with its class and number, and some of its fields. */
function frame(channel: number, classId: number, method: number): number[] {
  return [1, 0, channel, 0, 0, 0, 6, 0, classId, 0, method, 9, 9, 0xce];
}

Deno.test("channelErrors() puts one acknowledgement before a frame of a channel in use, however the bytes are cut", async () => {
  const hello = [..."AMQP"].map((letter) => letter.charCodeAt(0)).concat(0, 0, 9, 1);
  const open = frame(3, 20, 10);
  const publish = frame(3, 60, 40);
  const sent = [...hello, ...open, ...publish, ...publish];
  for (let size = 1; size <= sent.length; size++) {
    const errors = channelErrors();
    errors.next();
    const { readable, writable } = errors.passage();
    const passed = Array.fromAsync(readable);
    const writer = writable.getWriter();
    for (let at = 0; at < sent.length; at += size) {
      await writer.write(new Uint8Array(sent.slice(at, at + size)));
    }
    await writer.close();
    const bytes = (await passed).flatMap((chunk) => [...chunk]);
    const ack = [1, 0, 3, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xce];
    assert.deepEqual(bytes, [...hello, ...open, ...ack, ...publish, ...publish]);
    assert.equal(errors.count, 1);
  }
});
