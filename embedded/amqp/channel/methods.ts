/**
 * The methods that an open channel answers.
 * @module
 */
import type { Method } from "../protocol/codec.ts";
import type { Reader } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Args, MethodName } from "../protocol/spec.ts";
import { basicHandlers } from "./basic.ts";
import { bindingHandlers } from "./bindings.ts";
import type { Channel } from "./channel.ts";
import { exchangeHandlers } from "./exchanges.ts";
import type { Handler, Handlers } from "./handler.ts";
import { expectedContent, startPublish } from "./publish.ts";
import { queueHandlers } from "./queues.ts";
import { transactionHandlers } from "./transactions.ts";

/** What to answer to a channel.open on a channel that is open, or that waits for its close-ok: 504. */
export function secondOpen(): ProtocolError {
  return new ProtocolError("CHANNEL_ERROR", "second 'channel.open' seen");
}

const channelHandlers: Handlers = {
  "channel.open"() {
    throw secondOpen();
  },
  "channel.close"(channel) {
    channel.connection.closeChannel(channel);
  },
  "channel.flow"(channel, { active }) {
    // RabbitMQ takes flow only to be turned on: basic.qos and TCP do the rest.
    if (!active) throw new ProtocolError("NOT_IMPLEMENTED", "active=false");
    channel.send("channel.flow-ok", { active });
  },
  "access.request"(channel) {
    channel.send("access.request-ok", { ticket: 1 });
  },
};

const handlers: Handlers = {
  ...channelHandlers,
  ...exchangeHandlers,
  ...queueHandlers,
  ...bindingHandlers,
  ...basicHandlers,
  ...transactionHandlers,
};

/**
 * Carry out a method that came on an open channel.
 * @param reader Stands at the method's arguments.
 * @throws ProtocolError as RabbitMQ refuses it
 */
export function handleMethod(channel: Channel, method: Method, reader: Reader): void {
  if (channel.content) throw expectedContent(channel);
  if (method.name === "basic.publish") {
    return startPublish(channel, method.decode(reader) as Args<"basic.publish">);
  }
  const handler = handlers[method.name] as Handler<MethodName> | undefined;
  if (!handler) throw new ProtocolError("COMMAND_INVALID", "unimplemented method");
  handler(channel, method.decode(reader) as Args<MethodName>);
}
