/**
 * What carries out a method.
 * @module
 */
import type { Args, MethodName } from "../protocol/spec.ts";
import type { Channel } from "./channel.ts";

/** Carries a method out. Throws a ProtocolError to close the channel, or the connection when its code is hard. */
export type Handler<N extends MethodName> = (channel: Channel, args: Args<N>) => void;

/** Handlers by method. */
export type Handlers = { [N in MethodName]?: Handler<N> };
