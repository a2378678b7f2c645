import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { methodById, methodId, writeMethod } from "./codec.ts";
import { type Field, Reader, Scratch, type Table } from "./fields.ts";
import { frame, type MethodName, methods, type WireTypes } from "./spec.ts";

const bytes = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array).toString("latin1"));
const ascii = fc.string({ unit: "binary-ascii", maxLength: 255 });

/** A record with an ordinary prototype, as the decoder makes them. */
const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true });

const { table } = fc.letrec<{ table: Table; field: Field }>((tie) => ({
  table: fc.array(fc.tuple(bytes(20), tie("field")), { maxLength: 5 }).map((x) => new Map(x)),
  field: fc.oneof(
    { depthSize: "small" },
    record({ t: fc.constantFrom("S", "x"), v: bytes(300) }),
    record({ t: fc.constant("t"), v: fc.boolean() }),
    record({ t: fc.constant("b"), v: fc.integer({ min: -128, max: 127 }) }),
    record({ t: fc.constant("B"), v: fc.integer({ min: 0, max: 255 }) }),
    record({ t: fc.constant("s"), v: fc.integer({ min: -32768, max: 32767 }) }),
    record({ t: fc.constant("u"), v: fc.integer({ min: 0, max: 65535 }) }),
    record({ t: fc.constant("I"), v: fc.integer() }),
    record({ t: fc.constant("i"), v: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
    record({ t: fc.constant("l"), v: fc.maxSafeInteger() }),
    record({
      t: fc.constant("l"),
      v: fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
    }),
    record({ t: fc.constant("T"), v: fc.maxSafeNat() }),
    record({ t: fc.constant("T"), v: fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }) }),
    record({ t: fc.constant("f"), v: fc.float({ noNaN: true, noDefaultInfinity: true }) }),
    record({ t: fc.constant("d"), v: fc.double({ noNaN: true, noDefaultInfinity: true }) }),
    record({
      t: fc.constant("D"),
      v: fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
    }),
    record({ t: fc.constant("V"), v: fc.constant(null) }),
    record({ t: fc.constant("F"), v: tie("table") }),
    record({ t: fc.constant("A"), v: fc.array(tie("field"), { maxLength: 4 }) }),
  ) as fc.Arbitrary<Field>,
}));

const wire: { [T in keyof WireTypes]: fc.Arbitrary<WireTypes[T]> } = {
  octet: fc.integer({ min: 0, max: 255 }),
  short: fc.integer({ min: 0, max: 65535 }),
  long: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  longlong: fc.maxSafeNat(),
  bit: fc.boolean(),
  shortstr: ascii,
  longstr: bytes(1000),
  table,
};

for (const name of Object.keys(methods) as MethodName[]) {
  Deno.test(`${name} comes back from its frame as it was`, () => {
    const fields = Object.fromEntries(
      Object.entries(methods[name][1]).map(([key, type]) => [key, wire[type as keyof WireTypes]]),
    );
    const property = fc.property(
      fc.record(fields),
      fc.integer({ min: 0, max: 65535 }),
      (args, channel) => {
        const sink = new Scratch();
        writeMethod(sink, channel, name, args as never);
        const encoded = sink.done();
        assert.equal(encoded[0], frame.method);
        assert.equal(encoded.readUInt16BE(1), channel);
        assert.equal(encoded.readUInt32BE(3), encoded.length - 8);
        assert.equal(encoded.at(-1), frame.end);
        const reader = new Reader(encoded).window(7, encoded.length - 1);
        assert.equal(reader.long(), methodId(name));
        assert.deepEqual(methodById(methodId(name))!.decode(reader), { ...args });
        assert.equal(reader.pos, reader.end);
      },
    );
    fc.assert(property, { numRuns: 50 });
  });
}

Deno.test("bits share octets, the first in the lowest place", () => {
  const sink = new Scratch();
  writeMethod(sink, 1, "queue.declare", {
    ticket: 0,
    queue: "q",
    passive: false,
    durable: true,
    exclusive: false,
    autoDelete: true,
    nowait: false,
    arguments: new Map(),
  });
  assert.equal(
    sink.done().toString("hex"),
    "0100010000000d" + "0032000a" + "0000" + "0171" + "0a" + "00000000" + "ce",
  );
});

Deno.test("decoding what was cut anywhere throws, never reads on", () => {
  const sink = new Scratch();
  writeMethod(sink, 1, "basic.consume", {
    ticket: 0,
    queue: "queue",
    consumerTag: "tag",
    noLocal: false,
    noAck: true,
    exclusive: false,
    nowait: false,
    arguments: new Map<string, Field>([["a", { t: "A", v: [{ t: "S", v: "text" }] }]]),
  });
  const encoded = sink.done();
  for (let end = 11; end < encoded.length - 1; end++) {
    const reader = new Reader(encoded).window(11, end);
    assert.throws(
      () => methodById(methodId("basic.consume"))!.decode(reader),
      /FRAME_ERROR - cannot decode/,
    );
  }
});

Deno.test("a name that is not UTF-8 is refused, a routing key of publish is not", () => {
  const decode = (name: MethodName, args: unknown) => {
    const sink = new Scratch();
    writeMethod(sink, 1, name, args as never);
    const encoded = sink.done();
    return methodById(methodId(name))!.decode(new Reader(encoded).window(11, encoded.length - 1));
  };
  assert.throws(
    () => decode("queue.purge", { ticket: 0, queue: "\xff", nowait: false }),
    /FRAME_ERROR - Malformed UTF-8 in shortstr/,
  );
  const publish = {
    ticket: 0,
    exchange: "",
    routingKey: "\xff",
    mandatory: false,
    immediate: false,
  };
  assert.deepEqual(decode("basic.publish", publish), publish);
});
