/**
 * Bindings of queues, and of exchanges to exchanges.
 * @module
 */
import type { Binding } from "../broker/exchange.ts";
import type { Table } from "../protocol/fields.ts";
import type { Channel } from "./channel.ts";
import type { Handlers } from "./handler.ts";
import { clean, expandName, findExchange, findQueue, refuseDefault } from "./names.ts";

/** Which binding a method means; `kind` says what the destination is. */
interface BindingNames {
  kind: "queue" | "exchange";
  source: string;
  destination: string;
  routingKey: string;
  arguments: Table;
}

function namesOf(names: BindingNames): BindingNames {
  const source = clean(names.source), destination = clean(names.destination);
  if (names.kind === "exchange") refuseDefault(destination);
  refuseDefault(source);
  return { ...names, source, destination };
}

function bind(channel: Channel, names: BindingNames): void {
  const { kind, source, destination, routingKey, arguments: args } = namesOf(names);
  const from = findExchange(channel, source);
  const to = kind === "queue"
    ? findQueue(channel, destination)
    : findExchange(channel, destination);
  channel.vhost.bind(from, to, routingKey, args);
}

/** Unbinding what is not there succeeds, also where the exchange or the queue is missing (RabbitMQ "extensions"). */
function unbind(channel: Channel, names: BindingNames): void {
  const { vhost } = channel;
  const { kind, source, destination, routingKey, arguments: args } = namesOf(names);
  // Another connection's own queue is refused all the same.
  if (kind === "queue" && vhost.queues.has(destination)) findQueue(channel, destination);
  const from = vhost.exchanges.get(source);
  const to = (kind === "queue" ? vhost.queues : vhost.exchanges).get(destination);
  const binding: Binding | undefined = from && to && vhost.findBinding(from, to, routingKey, args);
  if (binding) vhost.unbind(binding);
  else if (from && to) vhost.awaitUnbound(from, to, routingKey, args);
}

interface QueueBinding {
  queue: string;
  exchange: string;
  routingKey: string;
  arguments: Table;
}

/** An empty queue name is the queue last declared; with an empty key, that is its name too (spec 1.7.2.3). */
function queueBinding(channel: Channel, args: QueueBinding): BindingNames {
  const { queue, exchange: source, routingKey } = args;
  const destination = expandName(channel, queue);
  return {
    kind: "queue",
    source,
    destination,
    routingKey: queue === "" && routingKey === "" ? destination : routingKey,
    arguments: args.arguments,
  };
}

/** The handlers of bindings (spec 1.7; RabbitMQ "Exchange to Exchange Bindings"). */
export const bindingHandlers: Handlers = {
  "exchange.bind"(channel, args) {
    bind(channel, { kind: "exchange", ...args });
    if (!args.nowait) channel.send("exchange.bind-ok", {});
  },
  "exchange.unbind"(channel, args) {
    unbind(channel, { kind: "exchange", ...args });
    if (!args.nowait) channel.send("exchange.unbind-ok", {});
  },
  "queue.bind"(channel, args) {
    bind(channel, queueBinding(channel, args));
    if (!args.nowait) channel.send("queue.bind-ok", {});
  },
  "queue.unbind"(channel, args) {
    unbind(channel, queueBinding(channel, args));
    channel.send("queue.unbind-ok", {});
  },
};
