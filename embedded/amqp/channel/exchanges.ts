/**
 * Methods of the class exchange, besides bindings.
 * @module
 */
import { Exchange, type ExchangeType, exchangeTypes } from "../broker/exchange.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Args } from "../protocol/spec.ts";
import { assertSame, assertSameArg } from "../queue/settings.ts";
import type { Channel } from "./channel.ts";
import type { Handlers } from "./handler.ts";
import { checkNameArg, clean, findExchange, refuseDefault, refuseReserved } from "./names.ts";

function declareExchange(channel: Channel, args: Args<"exchange.declare">): void {
  const { vhost } = channel;
  const name = clean(args.exchange);
  if (args.passive) {
    refuseDefault(name);
    return void findExchange(channel, name);
  }
  if (!exchangeTypes.includes(args.type as ExchangeType)) {
    throw new ProtocolError("PRECONDITION_FAILED", `unknown exchange type '${args.type}'`);
  }
  refuseDefault(name);
  const existing = vhost.exchanges.get(name);
  if (existing) {
    assertSameExchange(existing, args);
    return vhost.awaitStored("exchange", name);
  }
  refuseReserved("exchange", name);
  const exchange = new Exchange(
    vhost.name,
    name,
    args.type as ExchangeType,
    args.durable,
    args.autoDelete,
    args.internal,
    args.arguments,
  );
  checkNameArg(exchange.label, args.arguments, "alternate-exchange");
  vhost.addExchange(exchange);
}

function assertSameExchange(exchange: Exchange, args: Args<"exchange.declare">): void {
  const { label } = exchange;
  assertSame(label, "type", exchange.type, args.type);
  assertSame(label, "durable", exchange.durable, args.durable);
  assertSame(label, "auto_delete", exchange.autoDelete, args.autoDelete);
  assertSame(label, "internal", exchange.internal, args.internal);
  assertSameArg(label, "alternate-exchange", exchange.args, args.arguments);
}

function deleteExchange({ vhost }: Channel, args: Args<"exchange.delete">): void {
  const name = clean(args.exchange);
  refuseDefault(name);
  if (name.startsWith("amq.")) {
    throw new ProtocolError(
      "ACCESS_REFUSED",
      `deletion of system exchange '${name}' in vhost '${vhost.name}' not allowed`,
    );
  }
  const exchange = vhost.exchanges.get(name);
  if (!exchange) return vhost.awaitStored("exchange", name);
  if (args.ifUnused && exchange.bindings.size > 0) {
    throw new ProtocolError("PRECONDITION_FAILED", `${exchange.label} in use`);
  }
  vhost.removeExchange(exchange);
}

/** The handlers of class exchange (spec 1.6). */
export const exchangeHandlers: Handlers = {
  "exchange.declare"(channel, args) {
    declareExchange(channel, args);
    if (!args.nowait) channel.send("exchange.declare-ok", {});
  },
  "exchange.delete"(channel, args) {
    deleteExchange(channel, args);
    if (!args.nowait) channel.send("exchange.delete-ok", {});
  },
};
