/**
 * Random operations on a broker.
 * @module
 */
import fc from "fast-check";

const queue = fc.constantFrom("q0", "q1", "q2");
const exchange = fc.constantFrom("e0", "e1", "e2");
const key = fc.constantFrom("", "a", "a.b", "a.b.c", "b", "*", "#", "a.*", "a.#", "*.b", "#.c");
const channel = fc.constantFrom(0, 1);
const sometimes = fc.boolean();

const queueArguments = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  fc.record({
    "x-max-length": fc.constantFrom(0, 1, 3),
    "x-overflow": fc.constantFrom("drop-head", "reject-publish"),
  }, { requiredKeys: [] }),
  fc.record({ "x-max-priority": fc.constantFrom(1, 5) }),
  fc.record({ "x-single-active-consumer": fc.constant(true) }),
  fc.record({
    "x-dead-letter-exchange": fc.constantFrom("", "e0", "e1"),
    "x-dead-letter-routing-key": fc.constantFrom("q0", "q1", "a"),
  }, { requiredKeys: ["x-dead-letter-exchange"] }),
);

const headers = fc.dictionary(fc.constantFrom("h", "x-h", "i"), fc.constantFrom(1, 2, "v"), {
  maxKeys: 2,
});
const match = fc.record({
  "x-match": fc.constantFrom("all", "any", "all-with-x", "any-with-x", "some"),
}, { requiredKeys: [] });
const bindingArguments = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  fc.tuple(match, headers).map(([how, what]) => ({ ...how, ...what })),
);

const kind = <K extends string, R extends Record<string, fc.Arbitrary<unknown>>>(
  name: K,
  rest: R,
) =>
  fc.record({ do: fc.constant(name), channel, ...rest }) as unknown as fc.Arbitrary<
    { do: K; channel: number } & { [P in keyof R]: R[P] extends fc.Arbitrary<infer T> ? T : never }
  >;

const declareQueue = kind("declareQueue", {
  queue,
  durable: fc.constantFrom(true, true, true, false),
  autoDelete: fc.constantFrom(false, false, false, false, true),
  args: queueArguments,
});
const declareExchange = kind("declareExchange", {
  exchange,
  type: fc.constantFrom("direct", "fanout", "topic", "topic", "headers"),
  autoDelete: fc.constantFrom(false, false, true),
  internal: fc.constantFrom(false, false, false, true),
  alternate: fc.constantFrom(undefined, undefined, "e0", "e1"),
});
const publish = (to: fc.Arbitrary<string>, by: fc.Arbitrary<string>) =>
  kind("publish", {
    exchange: to,
    key: by,
    mandatory: sometimes,
    priority: fc.constantFrom(undefined, 0, 3, 9),
    headers,
    copies: fc.constantFrom([], [], [], ["q0"], ["a", "b"]),
  });

const operation = fc.oneof(
  { weight: 1, arbitrary: declareQueue },
  { weight: 1, arbitrary: kind("checkQueue", { queue }) },
  {
    weight: 1,
    arbitrary: kind("deleteQueue", { queue, ifUnused: sometimes, ifEmpty: sometimes }),
  },
  { weight: 1, arbitrary: kind("purge", { queue }) },
  { weight: 1, arbitrary: declareExchange },
  { weight: 1, arbitrary: kind("deleteExchange", { exchange, ifUnused: sometimes }) },
  { weight: 3, arbitrary: kind("bind", { queue, exchange, key, args: bindingArguments }) },
  { weight: 2, arbitrary: kind("unbind", { queue, exchange, key, args: bindingArguments }) },
  {
    weight: 2,
    arbitrary: kind("bindExchange", { to: exchange, exchange, key, args: bindingArguments }),
  },
  { weight: 16, arbitrary: publish(fc.constant(""), queue) },
  { weight: 10, arbitrary: publish(exchange, fc.oneof(queue, key)) },
  { weight: 8, arbitrary: kind("get", { queue, noAck: sometimes }) },
  {
    weight: 3,
    arbitrary: kind("consume", {
      queue,
      tag: fc.constantFrom("t0", "t1", "t2"),
      noAck: sometimes,
      exclusive: fc.constantFrom(false, false, false, true),
      priority: fc.constantFrom(undefined, undefined, 1),
    }),
  },
  { weight: 1, arbitrary: kind("cancel", { tag: fc.constantFrom("t0", "t1", "t2") }) },
  { weight: 1, arbitrary: kind("prefetch", { count: fc.constantFrom(0, 1, 2) }) },
  {
    weight: 12,
    arbitrary: kind("settle", {
      how: fc.constantFrom("ack", "requeue", "discard"),
      which: fc.nat(5),
    }),
  },
  {
    weight: 1,
    arbitrary: kind("settleAll", { how: fc.constantFrom("ack", "requeue", "discard") }),
  },
  { weight: 1, arbitrary: kind("recover", {}) },
  { weight: 1, arbitrary: kind("closeChannel", {}) },
);

/** One operation. */
export type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** The same operation of each of these. */
function ofEach<T>(one: fc.Arbitrary<T>, names: readonly string[], key: "queue" | "exchange") {
  return fc.tuple(...names.map((name) => one.map((it) => ({ ...it, [key]: name }))));
}

/** A list of operations: mostly there is something to operate on, declared in the beginning. */
export const operations: fc.Arbitrary<Operation[]> = fc.tuple(
  ofEach(declareQueue, ["q0", "q1", "q2"], "queue"),
  ofEach(declareExchange, ["e0", "e1", "e2"], "exchange"),
  fc.array(kind("bind", { queue, exchange, key, args: bindingArguments }), { maxLength: 6 }),
  fc.array(operation, { maxLength: 50, size: "max" }),
).map((parts) => parts.flat());
