/**
 * Methods of the class queue, besides bindings.
 * @module
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { Args } from "../protocol/spec.ts";
import { Queue } from "../queue/queue.ts";
import { assertSame, assertSameArg, comparedArguments, parseQueueArgs } from "../queue/settings.ts";
import type { Channel } from "./channel.ts";
import type { Handlers } from "./handler.ts";
import {
  checkNameArg,
  checkOwner,
  clean,
  expandName,
  findQueue,
  refuseReserved,
  replyQueue,
} from "./names.ts";

function declareQueue(channel: Channel, args: Args<"queue.declare">): Queue {
  const name = clean(args.queue);
  if (args.passive) {
    const queue = findQueue(channel, name);
    queue.touch();
    return queue;
  }
  // Even one that exists: a server-named queue can be looked at, not declared, by its name.
  refuseReserved("queue", name);
  const existing = channel.vhost.queues.get(name);
  if (!existing) return createQueue(channel, name, args);
  assertSameQueue(channel, existing, args);
  channel.vhost.awaitStored("queue", name);
  existing.touch();
  return existing;
}

/** An exclusive queue goes with its connection, so that it is never durable. */
function isDurable({ durable, exclusive }: Args<"queue.declare">): boolean {
  return durable && !exclusive;
}

function assertSameQueue(channel: Channel, queue: Queue, args: Args<"queue.declare">): void {
  const { label } = queue;
  checkOwner(queue, args.exclusive ? channel.connection : undefined);
  assertSame(label, "durable", queue.durable, isDurable(args));
  assertSame(label, "auto_delete", queue.autoDelete, args.autoDelete);
  for (const key of comparedArguments(queue.settings.type)) {
    assertSameArg(label, key, queue.args, args.arguments);
  }
}

/** @param given The name, empty for one that the broker makes */
function createQueue(channel: Channel, given: string, args: Args<"queue.declare">): Queue {
  const { vhost, broker } = channel;
  const name = given || broker.makeName("amq.gen");
  const label = `queue '${name}' in vhost '${vhost.name}'`;
  checkNameArg(label, args.arguments, "x-dead-letter-exchange");
  const settings = parseQueueArgs(label, args.arguments);
  if (settings.type === "quorum") checkQuorum(label, given, args);
  const queue = new Queue(
    broker,
    broker.nextPosition(),
    vhost.name,
    name,
    isDurable(args),
    args.autoDelete,
    args.exclusive ? channel.connection : undefined,
    args.arguments,
    settings,
  );
  vhost.addQueue(queue);
  return queue;
}

function checkQuorum(label: string, given: string, args: Args<"queue.declare">): void {
  if (given === "") {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      "Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
  }
  const invalid = args.autoDelete
    ? "auto-delete"
    : args.exclusive
    ? "exclusive-owner"
    : args.durable
    ? undefined
    : "non-durable";
  if (invalid) {
    throw new ProtocolError("PRECONDITION_FAILED", `invalid property '${invalid}' for ${label}`);
  }
}

/** A responder asks whether the requester is still there (RabbitMQ "Direct Reply-to"); the bare name always is. */
function declareReplyQueue(channel: Channel, args: Args<"queue.declare">): void {
  const name = clean(args.queue);
  if (name !== replyQueue && !channel.broker.replies.has(name)) {
    throw new ProtocolError("NOT_FOUND", `no queue '${name}' in vhost '${channel.vhost.name}'`);
  }
  channel.lastQueue = name;
  if (args.nowait) return;
  channel.send("queue.declare-ok", { queue: name, messageCount: 0, consumerCount: 1 });
}

/** RabbitMQ does not delete a quorum queue on a condition. @throws ProtocolError 540 */
function refuseConditions(queue: Queue, { ifUnused, ifEmpty }: Args<"queue.delete">): void {
  const flag = ifUnused ? "if-unused" : ifEmpty ? "if-empty" : undefined;
  if (flag === undefined) return;
  throw new ProtocolError(
    "NOT_IMPLEMENTED",
    `cannot delete ${queue.label}. queue.delete operations with ${flag} flag set are not supported by quorum queues`,
  );
}

/** @returns how many messages were ready in it; 0 when there is no such queue, which is no error */
function deleteQueue(channel: Channel, args: Args<"queue.delete">): number {
  const name = clean(expandName(channel, args.queue));
  if (!channel.vhost.queues.has(name)) {
    channel.vhost.awaitStored("queue", name);
    return 0;
  }
  const queue = findQueue(channel, name);
  if (queue.settings.type === "quorum") refuseConditions(queue, args);
  queue.dropExpired();
  if (args.ifUnused && queue.consumers.length > 0) {
    throw new ProtocolError("PRECONDITION_FAILED", `${queue.label} in use`);
  }
  if (args.ifEmpty && queue.length > 0) {
    throw new ProtocolError("PRECONDITION_FAILED", `${queue.label} not empty`);
  }
  return channel.vhost.removeQueue(queue);
}

/** The handlers of class queue (spec 1.7). */
export const queueHandlers: Handlers = {
  "queue.declare"(channel, args) {
    if (args.queue.startsWith(replyQueue)) return declareReplyQueue(channel, args);
    const queue = declareQueue(channel, args);
    channel.lastQueue = queue.name;
    if (args.nowait) return;
    queue.dropExpired();
    channel.send("queue.declare-ok", {
      queue: queue.name,
      messageCount: queue.length,
      consumerCount: queue.consumers.length,
    });
  },
  "queue.purge"(channel, args) {
    const queue = findQueue(channel, expandName(channel, args.queue));
    const messageCount = queue.purge();
    if (queue.durable && messageCount > 0) channel.broker.changed();
    if (!args.nowait) channel.send("queue.purge-ok", { messageCount });
  },
  "queue.delete"(channel, args) {
    const messageCount = deleteQueue(channel, args);
    if (!args.nowait) channel.send("queue.delete-ok", { messageCount });
  },
};
