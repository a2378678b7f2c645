/**
 * The method basic.publish and the content that follows it.
 * @module
 */
import { checkExpiration, Content, withReplyTo } from "../message/content.ts";
import { writeReturn } from "../message/delivery.ts";
import type { Message } from "../message/message.ts";
import { methodId } from "../protocol/codec.ts";
import type { FrameReader } from "../protocol/frames.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { type Args, frame } from "../protocol/spec.ts";
import type { Queue } from "../queue/queue.ts";
import type { Channel } from "./channel.ts";
import { findExchange, replyQueue } from "./names.ts";

/** Take a basic.publish; its content comes in the frames after it. @throws ProtocolError 540 for `immediate` */
export function startPublish(channel: Channel, args: Args<"basic.publish">): void {
  if (args.immediate) throw new ProtocolError("NOT_IMPLEMENTED", "immediate=true");
  channel.content = new Content(args.exchange, args.routingKey, args.mandatory);
}

/** What to answer when another frame comes than the content that must come: 505, worded as RabbitMQ does. */
export function expectedContent(channel: Channel): ProtocolError {
  channel.connection.current = methodId("basic.publish");
  return new ProtocolError(
    "UNEXPECTED_FRAME",
    channel.content!.headerSeen
      ? "expected content body, got non content body frame instead"
      : "expected content header for class 60, got non content header frame instead",
  );
}

/** Take a content header or a content body frame; with the last one the message is published. */
export function takeContent(channel: Channel, frames: FrameReader): void {
  const { content, connection, broker } = channel;
  if (!content) {
    throw new ProtocolError(
      "UNEXPECTED_FRAME",
      "expected method frame, got non method frame instead",
    );
  }
  if ((frames.type === frame.header) === content.headerSeen) throw expectedContent(channel);
  connection.current = methodId("basic.publish");
  if (frames.type === frame.header) {
    content.header(frames.payload, broker.limits.maxMessageSize);
  } else content.body(frames.payload);
  if (!content.complete) return;
  channel.content = undefined;
  publish(channel, content);
  if (broker.shortage !== undefined) connection.block();
}

/** Carry out a basic.publish whose content is complete. @throws ProtocolError as RabbitMQ refuses it. */
function publish(channel: Channel, content: Content): void {
  const { vhost, broker } = channel;
  const exchange = findExchange(channel, content.exchange);
  if (exchange.internal) {
    throw new ProtocolError("ACCESS_REFUSED", `cannot publish to internal ${exchange.label}`);
  }
  const { message: published, demands } = content.finish();
  let message = published;
  if (demands.replyTo === replyQueue) {
    if (!channel.reply) {
      throw new ProtocolError("PRECONDITION_FAILED", "fast reply consumer does not exist");
    }
    message = withReplyTo(message, channel.reply.address);
  }
  if (demands.userId !== undefined && demands.userId !== channel.connection.user) {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `user_id property set to '${demands.userId}' but authenticated user was '${channel.connection.user}'`,
    );
  }
  if (demands.expiration !== undefined) checkExpiration(demands.expiration);
  const { mandatory } = content;
  if (content.exchange === "" && content.routingKey.startsWith(replyQueue + ".")) {
    broker.reply(content.routingKey, message);
    // RabbitMQ counts it as routed to no queue.
    return publishTo(channel, message, [], mandatory);
  }
  const keys = message.copies.length === 0
    ? [message.routingKey]
    : [message.routingKey, ...message.copies];
  const queues = vhost.route(exchange, keys, message);
  if (channel.tx) {
    broker.hold(message);
    channel.tx.publishes.push({ message, queues, mandatory });
  } else publishTo(channel, message, queues, mandatory);
}

/** Put a routed message into its queues; tell the publisher what he wants to know. */
export function publishTo(
  channel: Channel,
  message: Message,
  queues: readonly Queue[],
  mandatory: boolean,
): void {
  let accepted = true;
  let routed = false;
  let stored = false;
  for (const queue of queues) {
    if (queue.deleted) continue; // Gone between publish and tx.commit.
    routed = true;
    stored ||= queue.stores(message);
    if (!queue.publish(message)) accepted = false;
    if (queue.consumers.length > 0) channel.connection.pace.published(queue);
  }
  if (!routed && mandatory) {
    writeReturn(channel.connection.output, channel.id, message, channel.connection.frameMax);
    channel.connection.touched();
  }
  if (channel.confirms) {
    if (stored) channel.broker.commitSoon();
    channel.awaitConfirm(accepted);
  }
}
