/**
 * The arguments of queue.declare: what they mean, and which are refused with which text
 * (RabbitMQ: "Queues, optional arguments").
 * @module
 */
import { erlang } from "../protocol/erlang.ts";
import { type Field, type Table, typeNames } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";

/** What a queue does with its arguments. */
export interface QueueSettings {
  readonly type: "classic" | "quorum";
  /** Milliseconds until a message expires, -1 for never. */
  readonly ttl: number;
  /** Milliseconds of disuse until the queue is deleted, -1 for never. */
  readonly expires: number;
  readonly maxLength: number;
  readonly maxBytes: number;
  readonly overflow: "drop-head" | "reject-publish" | "reject-publish-dlx";
  readonly deadLetterExchange: string | undefined;
  readonly deadLetterKey: string | undefined;
  /** Priorities 0 to this are kept apart; 0 when the queue knows none. */
  readonly maxPriority: number;
  readonly singleActive: boolean;
  /** How often a message may come back before it is dead-lettered, negative for any number (quorum queues). */
  readonly deliveryLimit: number;
  /** A dead letter stays until the queues that it is routed to have it (quorum queues). */
  readonly atLeastOnce: boolean;
}

/** The delivery limit of a quorum queue that names none (RabbitMQ 4.0 "Poison Message Handling"). */
const defaultDeliveryLimit = 20;

type Check = (field: Field, args: Table) => string | undefined;

const integers = "bsIlBui";
/** Ten years, RabbitMQ's longest time. */
const maxExpiry = 315_360_000_000;

const isInteger: Check = (field) =>
  integers.includes(field.t) ? undefined : `"expected integer, got ${typeNames[field.t]}"`;
const isNatural: Check = (field, args) =>
  isInteger(field, args) ?? (Number(field.v) < 0 ? `{value_negative,${field.v}}` : undefined);
const isTime: Check = (field, args) =>
  isNatural(field, args) ??
    (Number(field.v) > maxExpiry ? `{value_too_large,${field.v}}` : undefined);
const isString: Check = (field) =>
  field.t === "S" ? undefined : `{unacceptable_type,${typeNames[field.t]}}`;
const oneOf = (values: string[], error: (value: string) => string): Check => (field, args) =>
  isString(field, args) ??
    (values.includes(field.v as string) ? undefined : error(field.v as string));
const isSize: Check = (field, args) =>
  isNatural(field, args) ?? (Number(field.v) === 0 ? `{value_zero,0}` : undefined);

const checks: Record<string, Check> = {
  "x-expires": (field, args) =>
    isInteger(field, args) ?? (Number(field.v) === 0 ? `{value_zero,0}` : isTime(field, args)),
  "x-message-ttl": isTime,
  "x-dead-letter-exchange": isString,
  "x-dead-letter-routing-key": (field, args) =>
    isString(field, args) ??
      (args.has("x-dead-letter-exchange") ? undefined : "routing_key_but_no_dlx_defined"),
  "x-dead-letter-strategy": oneOf(["at-most-once", "at-least-once"], () => "invalid_dlx_strategy"),
  "x-max-length": isNatural,
  "x-max-length-bytes": isNatural,
  "x-max-in-memory-length": isNatural,
  "x-max-in-memory-bytes": isNatural,
  "x-max-priority": (field, args) =>
    isNatural(field, args) ??
      (Number(field.v) > 255 ? `{max_value_exceeded,${field.v}}` : undefined),
  "x-overflow": oneOf(
    ["drop-head", "reject-publish", "reject-publish-dlx"],
    () => "invalid_overflow",
  ),
  "x-queue-mode": oneOf(["default", "lazy"], (v) => `"unsupported queue mode '${v}'"`),
  "x-queue-version": (field, args) =>
    isNatural(field, args) ??
      ([1, 2].includes(Number(field.v)) ? undefined : `"unsupported queue version '${field.v}'"`),
  "x-single-active-consumer": (field) =>
    field.t === "t" ? undefined : `{unacceptable_type,${typeNames[field.t]}}`,
  "x-quorum-initial-group-size": isSize,
  "x-queue-leader-locator": oneOf(
    ["balanced", "client-local", "random", "least-leaders"],
    () => "invalid_queue_locator_arg",
  ),
};

const isType = oneOf(
  ["classic", "quorum", "stream"],
  (value) => `"unsupported queue type '${value}'"`,
);

/** The arguments that a queue of each type knows, in RabbitMQ's order; those of other types are refused. */
const known = {
  classic: [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
  ],
  quorum: [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
  ],
};
/** Arguments that only stream queues know. */
const streamOnly = ["x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size"];

function refuse(key: string, label: string, error: string): never {
  throw new ProtocolError("PRECONDITION_FAILED", `invalid arg '${key}' for ${label}: ${error}`);
}

/** The arguments whose change a redeclaration with other values must not go through with. */
export function comparedArguments(type: "classic" | "quorum"): readonly string[] {
  return known[type];
}

/**
 * Check the arguments of a new queue.
 * @throws ProtocolError 406 naming the argument; 540 for stream queues, which this broker does not have.
 */
export function parseQueueArgs(label: string, args: Table): QueueSettings {
  const typeField = args.get("x-queue-type");
  if (typeField) {
    const error = isType(typeField, args);
    if (error) refuse("x-queue-type", label, error);
  }
  const type = (typeField?.v ?? "classic") as string;
  if (type === "stream") {
    throw new ProtocolError("NOT_IMPLEMENTED", `stream queues: x-queue-type of ${label}`);
  }
  const keys = known[type as "classic" | "quorum"];
  for (const key of keys) {
    const field = args.get(key);
    const error = field && checks[key]?.(field, args);
    if (error) refuse(key, label, error);
  }
  const others = [...known.classic, ...known.quorum, ...streamOnly];
  for (const key of args.keys()) {
    if (!keys.includes(key) && others.includes(key)) {
      throw new ProtocolError(
        "PRECONDITION_FAILED",
        `invalid arg '${key}' for ${label} of queue type rabbit_${type}_queue`,
      );
    }
  }
  const number = (key: string) => {
    const field = args.get(key);
    return field ? Number(field.v) : -1;
  };
  const string = (key: string) => args.get(key)?.v as string | undefined;
  const overflow = string("x-overflow") ?? "drop-head";
  return {
    type: type as "classic" | "quorum",
    ttl: number("x-message-ttl"),
    expires: number("x-expires"),
    maxLength: number("x-max-length"),
    maxBytes: number("x-max-length-bytes"),
    overflow: overflow as QueueSettings["overflow"],
    deadLetterExchange: string("x-dead-letter-exchange"),
    deadLetterKey: string("x-dead-letter-routing-key"),
    maxPriority: Math.max(0, number("x-max-priority")),
    singleActive: args.get("x-single-active-consumer")?.v === true,
    deliveryLimit: type === "quorum" ? deliveryLimit(args.get("x-delivery-limit")) : -1,
    // RabbitMQ falls back to at-most-once where one of the three is missing.
    atLeastOnce: string("x-dead-letter-strategy") === "at-least-once" &&
      args.has("x-dead-letter-exchange") && overflow === "reject-publish",
  };
}

/** RabbitMQ takes a value that is no integer as none. */
function deliveryLimit(field: Field | undefined): number {
  return field && integers.includes(field.t) ? Number(field.v) : defaultDeliveryLimit;
}

/** Refuse a redeclaration with another value, in RabbitMQ's words. */
export function assertSame(
  label: string,
  name: string,
  current: string | boolean,
  received: string | boolean,
): void {
  if (current === received) return;
  throw new ProtocolError(
    "PRECONDITION_FAILED",
    `inequivalent arg '${name}' for ${label}: received '${received}' but current is '${current}'`,
  );
}

/** Refuse a redeclaration whose argument `key` differs, in RabbitMQ's words. */
export function assertSameArg(label: string, key: string, current: Table, received: Table): void {
  const a = current.get(key), b = received.get(key);
  if (a === undefined && b === undefined) return;
  if (a && b && typeClass(a) === typeClass(b) && erlang(a) === erlang(b)) return;
  // No type is the type that queues have here without one.
  if (key === "x-queue-type" && (!a || !b)) {
    return assertSame(label, key, a ? a.v as string : "classic", b ? b.v as string : "classic");
  }
  throw new ProtocolError(
    "PRECONDITION_FAILED",
    `inequivalent arg '${key}' for ${label}: received ${describe(b, a)} but current is ${
      describe(a, b)
    }`,
  );
}

function typeClass(field: Field): string {
  return integers.includes(field.t)
    ? "int"
    : field.t === "d" || field.t === "f"
    ? "float"
    : field.t;
}

/** RabbitMQ names the type only where one of the two is absent. */
function describe(field: Field | undefined, other: Field | undefined): string {
  if (!field) return "none";
  const value = field.t === "S" ? field.v : erlang(field);
  return other ? `'${value}'` : `the value '${value}' of type '${typeNames[field.t]}'`;
}
