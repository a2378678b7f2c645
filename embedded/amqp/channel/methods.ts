/**
 * The methods that a channel answers.
 * @module
 */
import type { Channel } from "./channel.ts";
import { basicHandlers } from "./basic.ts";
import { topologyHandlers } from "./topology.ts";
import { transactionHandlers } from "./transactions.ts";
import { type Args, type MethodName, ProtocolError } from "../protocol/spec.ts";

/** Carries a method out; throws a ProtocolError to close the channel or the connection. */
export type Handler<N extends MethodName> = (channel: Channel, args: Args<N>) => void;

/** Handlers by method. */
export type Handlers = { [N in MethodName]?: Handler<N> };

const channelHandlers: Handlers = {
  "channel.open"() {
    throw new ProtocolError("CHANNEL_ERROR", "second 'channel.open' seen");
  },
  "channel.close"(channel) {
    channel.connection.closeChannel(channel);
  },
  "channel.close-ok"() {/* crossed with a close of our own that is already forgotten */},
  "channel.flow"(channel, { active }) {
    // RabbitMQ takes flow only to be turned on: basic.qos and TCP do the rest.
    if (!active) throw new ProtocolError("NOT_IMPLEMENTED", "active=false");
    channel.send("channel.flow-ok", { active });
  },
  "access.request"(channel) {
    channel.send("access.request-ok", { ticket: 1 });
  },
};

/** Every method that a channel answers, besides basic.publish, whose content comes after it. */
export const handlers: Handlers = {
  ...channelHandlers,
  ...topologyHandlers,
  ...basicHandlers,
  ...transactionHandlers,
};
