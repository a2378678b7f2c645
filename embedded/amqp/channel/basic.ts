/**
 * Methods of the class basic, besides basic.publish.
 * @module
 */
import { writeGetOk } from "../message/delivery.ts";
import { type Table, typeNames } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Args } from "../protocol/spec.ts";
import type { Queue } from "../queue/queue.ts";
import { type Channel, ChannelConsumer, outgoing, type Settlement } from "./channel.ts";
import type { Handlers } from "./handler.ts";
import { expandName, findQueue, replyQueue } from "./names.ts";

function consumerPriority(queue: Queue, args: Table): number {
  const field = args.get("x-priority");
  if (!field) return 0;
  if (!"bsIlBui".includes(field.t)) {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid arg 'x-priority' for ${queue.label}: "expected integer, got ${typeNames[field.t]}"`,
    );
  }
  return Number(field.v);
}

function consume(channel: Channel, args: Args<"basic.consume">): void {
  const { broker } = channel;
  const name = expandName(channel, args.queue);
  if (channel.consumers.has(args.consumerTag) || channel.reply?.tag === args.consumerTag) {
    throw new ProtocolError(
      "NOT_ALLOWED",
      `attempt to reuse consumer tag '${args.consumerTag}'`,
    );
  }
  const tag = args.consumerTag === "" ? broker.makeName("amq.ctag") : args.consumerTag;
  if (name === replyQueue) {
    if (!args.noAck) {
      throw new ProtocolError("PRECONDITION_FAILED", "reply consumer cannot acknowledge");
    }
    if (channel.reply) {
      throw new ProtocolError("PRECONDITION_FAILED", "reply consumer already set");
    }
    channel.reply = { tag, address: broker.makeName(replyQueue) };
    broker.replies.set(channel.reply.address, channel);
    if (!args.nowait) channel.send("basic.consume-ok", { consumerTag: tag });
    return;
  }
  const queue = findQueue(channel, name);
  const priority = consumerPriority(queue, args.arguments);
  if (args.arguments.has("x-stream-offset")) {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid arg 'x-stream-offset' for ${queue.label} of queue type rabbit_${queue.settings.type}_queue`,
    );
  }
  if (args.arguments.has("x-credit")) {
    throw new ProtocolError("NOT_IMPLEMENTED", "x-credit");
  }
  const { type, singleActive } = queue.settings;
  const excluded = args.exclusive &&
    (queue.consumers.length > 0 || (singleActive && type === "classic"));
  if (queue.consumers.inExclusiveUse || excluded) {
    throw new ProtocolError("ACCESS_REFUSED", `${queue.label} in exclusive use`);
  }
  if (type === "quorum" && channel.limit > 0) {
    throw new ProtocolError("NOT_IMPLEMENTED", `${queue.label} does not support global qos`);
  }
  const consumer = new ChannelConsumer(
    channel,
    queue,
    tag,
    args.noAck,
    args.exclusive,
    priority,
    channel.prefetch,
  );
  channel.consumers.set(tag, consumer);
  queue.addConsumer(consumer);
  if (!args.nowait) channel.send("basic.consume-ok", { consumerTag: tag });
  queue.drain();
}

function settle(
  channel: Channel,
  action: Settlement,
  tag: number,
  multiple: boolean,
): void {
  const unacked = channel.collect(tag, multiple);
  if (channel.tx) channel.tx.settlements.push({ action, unacked });
  else channel.apply(action, unacked);
}

function checkRecover(requeue: boolean): void {
  if (!requeue) throw new ProtocolError("NOT_IMPLEMENTED", "requeue=false");
}

function recover(channel: Channel): void {
  channel.apply("requeue", channel.collect(0, true));
}

/** The handlers of class basic (spec 1.8). */
export const basicHandlers: Handlers = {
  "basic.qos"(channel, args) {
    if (args.prefetchSize !== 0) {
      throw new ProtocolError("NOT_IMPLEMENTED", `prefetch_size!=0 (${args.prefetchSize})`);
    }
    // RabbitMQ's meaning of `global`: the whole channel, or each consumer to come ("Consumer Prefetch").
    if (args.global) channel.limit = args.prefetchCount;
    else {
      channel.prefetch = args.prefetchCount;
      channel.limit = 0;
    }
    channel.send("basic.qos-ok", {});
    channel.drain();
  },
  "basic.consume": consume,
  "basic.cancel"(channel, { consumerTag, nowait }) {
    const consumer = channel.consumers.get(consumerTag);
    if (channel.reply?.tag === consumerTag) {
      channel.broker.replies.delete(channel.reply.address);
      channel.reply = undefined;
    }
    channel.consumers.delete(consumerTag);
    if (!nowait) channel.send("basic.cancel-ok", { consumerTag });
    consumer?.queue.removeConsumer(consumer);
  },
  "basic.get"(channel, args) {
    const queue = findQueue(channel, expandName(channel, args.queue));
    if (queue.settings.type === "quorum" && queue.settings.singleActive) {
      throw new ProtocolError(
        "RESOURCE_LOCKED",
        `cannot obtain access to locked ${queue.label}. basic.get operations are not supported by quorum ` +
          "queues with single active consumer",
      );
    }
    const entry = queue.get();
    // What has expired behind it does not count as left.
    queue.dropExpired();
    if (!entry) return channel.send("basic.get-empty", { clusterId: "" });
    const tag = channel.nextTag(args.noAck ? undefined : entry, undefined);
    const { connection } = channel;
    writeGetOk(
      connection.output,
      channel.id,
      tag,
      entry.redelivered,
      outgoing(entry),
      queue.length,
      connection.frameMax,
    );
    connection.touched();
    if (args.noAck) queue.settle(entry);
  },
  "basic.ack"(channel, args) {
    settle(channel, "ack", args.deliveryTag, args.multiple);
  },
  "basic.nack"(channel, args) {
    settle(channel, args.requeue ? "requeue" : "discard", args.deliveryTag, args.multiple);
  },
  "basic.reject"(channel, args) {
    settle(channel, args.requeue ? "requeue" : "discard", args.deliveryTag, false);
  },
  "basic.recover"(channel, args) {
    checkRecover(args.requeue);
    channel.send("basic.recover-ok", {});
    recover(channel);
  },
  "basic.recover-async"(channel, args) {
    checkRecover(args.requeue);
    recover(channel);
  },
};
