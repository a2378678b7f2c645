/**
 * Methods of the classes exchange and queue.
 * @module
 */
import type { Channel } from "./channel.ts";
import {
  type Destination,
  Exchange,
  type ExchangeType,
  exchangeTypes,
} from "../broker/exchange.ts";
import { type Table, typeNames } from "../protocol/fields.ts";
import type { Handlers } from "./handler.ts";
import { type Owner, Queue } from "../queue/queue.ts";
import { assertSame, assertSameArg, comparedArguments, parseQueueArgs } from "../queue/settings.ts";
import { type Args, ProtocolError } from "../protocol/spec.ts";

/** The pseudo-queue of direct reply-to (RabbitMQ "Direct Reply-to"). */
export const replyQueue = "amq.rabbitmq.reply-to";

/** RabbitMQ takes line breaks out of names. */
function clean(name: string): string {
  return name.replaceAll(/[\r\n]/g, "");
}

/** The queue name that is meant: an empty one is the last declared on the channel (spec 1.7.2). */
export function expandName(channel: Channel, name: string): string {
  if (name !== "") return name;
  if (channel.lastQueue === "") {
    throw new ProtocolError("NOT_FOUND", "no previously declared queue");
  }
  return channel.lastQueue;
}

/** The exchange of this name. @throws ProtocolError 404. */
export function findExchange(channel: Channel, name: string): Exchange {
  const exchange = channel.vhost.exchanges.get(name);
  if (exchange) return exchange;
  throw new ProtocolError("NOT_FOUND", `no exchange '${name}' in vhost '${channel.vhost.name}'`);
}

/** The queue of this name. @throws ProtocolError 404; 405 when another connection has it for itself. */
export function findQueue(channel: Channel, name: string): Queue {
  const queue = channel.vhost.queues.get(name);
  if (!queue) {
    throw new ProtocolError("NOT_FOUND", `no queue '${name}' in vhost '${channel.vhost.name}'`);
  }
  if (queue.owner !== undefined) checkOwner(queue, channel.connection);
  return queue;
}

function checkOwner(queue: Queue, owner: Owner | undefined): void {
  if (queue.owner === owner) return;
  throw new ProtocolError(
    "RESOURCE_LOCKED",
    `cannot obtain exclusive access to locked ${queue.label}. It could be originally declared on another ` +
      "connection or the exclusive property value does not match that of the original declaration.",
  );
}

function refuseDefault(name: string): void {
  if (name === "") {
    throw new ProtocolError("ACCESS_REFUSED", "operation not permitted on the default exchange");
  }
}

function refuseReserved(kind: string, name: string): void {
  if (name.startsWith("amq.")) {
    throw new ProtocolError(
      "ACCESS_REFUSED",
      `${kind} name '${name}' contains reserved prefix 'amq.*'`,
    );
  }
}

/** An argument that names an exchange must be a string. */
function checkNameArg(label: string, args: Table, key: string): void {
  const field = args.get(key);
  if (field && field.t !== "S") {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid type '${typeNames[field.t]}' for arg '${key}' in ${label}`,
    );
  }
}

function declareExchange(channel: Channel, args: Args<"exchange.declare">): void {
  const { vhost } = channel;
  const name = clean(args.exchange);
  if (args.passive) {
    refuseDefault(name);
    return void findExchange(channel, name);
  }
  if (!exchangeTypes.includes(args.type as ExchangeType)) {
    throw new ProtocolError("COMMAND_INVALID", `unknown exchange type '${args.type}'`);
  }
  refuseDefault(name);
  let exchange = vhost.exchanges.get(name);
  if (!exchange) {
    refuseReserved("exchange", name);
    exchange = new Exchange(
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
    return;
  }
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
  if (!exchange) return;
  if (args.ifUnused && exchange.bindings.size > 0) {
    throw new ProtocolError("PRECONDITION_FAILED", `${exchange.label} in use`);
  }
  vhost.removeExchange(exchange);
}

function declareQueue(channel: Channel, args: Args<"queue.declare">): Queue {
  const { vhost, connection, broker } = channel;
  let name = clean(args.queue);
  if (args.passive) {
    const queue = findQueue(channel, name);
    queue.touch();
    return queue;
  }
  // Even one that exists: a server-named queue can be looked at, not declared, by its name.
  refuseReserved("queue", name);
  const owner = args.exclusive ? connection : undefined;
  const durable = args.durable && !args.exclusive;
  let queue = vhost.queues.get(name);
  if (queue) {
    checkOwner(queue, owner);
    const { label } = queue;
    assertSame(label, "durable", queue.durable, durable);
    assertSame(label, "auto_delete", queue.autoDelete, args.autoDelete);
    for (const key of comparedArguments(queue.settings.type)) {
      assertSameArg(label, key, queue.args, args.arguments);
    }
    queue.touch();
    return queue;
  }
  const serverNamed = name === "";
  if (serverNamed) name = broker.makeName("amq.gen");
  const label = `queue '${name}' in vhost '${vhost.name}'`;
  checkNameArg(label, args.arguments, "x-dead-letter-exchange");
  const settings = parseQueueArgs(label, args.arguments);
  if (settings.type === "quorum") {
    if (serverNamed) {
      throw new ProtocolError(
        "PRECONDITION_FAILED",
        "Cannot declare a server-named queue for type rabbit_quorum_queue",
      );
    }
    const invalid = args.autoDelete
      ? "auto-delete"
      : args.exclusive
      ? "exclusive-owner"
      : durable
      ? undefined
      : "non-durable";
    if (invalid) {
      throw new ProtocolError("PRECONDITION_FAILED", `invalid property '${invalid}' for ${label}`);
    }
  }
  queue = new Queue(
    broker,
    broker.nextPosition(),
    vhost.name,
    name,
    durable,
    args.autoDelete,
    owner,
    args.arguments,
    settings,
  );
  vhost.addQueue(queue);
  return queue;
}

interface BindArgs {
  routingKey: string;
  arguments: Table;
}

function findDestination(channel: Channel, kind: "queue" | "exchange", name: string): Destination {
  return kind === "queue" ? findQueue(channel, name) : findExchange(channel, name);
}

function changeBinding(
  channel: Channel,
  action: "bind" | "unbind",
  sourceName: string,
  kind: "queue" | "exchange",
  destinationName: string,
  { routingKey, arguments: args }: BindArgs,
): void {
  const { vhost } = channel;
  const source = clean(sourceName), destination = clean(destinationName);
  if (kind === "exchange") refuseDefault(destination);
  refuseDefault(source);
  // Unbinding what is not there succeeds; with a missing exchange or queue too (RabbitMQ "extensions").
  const from = action === "bind" ? findExchange(channel, source) : vhost.exchanges.get(source);
  if (action === "unbind" && kind === "queue" && vhost.queues.has(destination)) {
    findQueue(channel, destination);
  }
  if (action === "bind") {
    vhost.bind(from!, findDestination(channel, kind, destination), routingKey, args);
    return;
  }
  const to = (kind === "queue" ? vhost.queues : vhost.exchanges).get(destination);
  const binding = from && to && vhost.findBinding(from, to, routingKey, args);
  if (binding) vhost.unbind(binding);
}

/** A binding without queue and key: both are the queue last declared. */
function expandKey(channel: Channel, queue: string, key: string): string {
  return queue === "" && key === "" ? expandName(channel, "") : key;
}

/** The handlers of classes exchange and queue (spec 1.6, 1.7; RabbitMQ: exchange.bind and exchange.unbind). */
export const topologyHandlers: Handlers = {
  "exchange.declare"(channel, args) {
    declareExchange(channel, args);
    if (!args.nowait) channel.send("exchange.declare-ok", {});
  },
  "exchange.delete"(channel, args) {
    deleteExchange(channel, args);
    if (!args.nowait) channel.send("exchange.delete-ok", {});
  },
  "exchange.bind"(channel, args) {
    changeBinding(channel, "bind", args.source, "exchange", args.destination, args);
    if (!args.nowait) channel.send("exchange.bind-ok", {});
  },
  "exchange.unbind"(channel, args) {
    changeBinding(channel, "unbind", args.source, "exchange", args.destination, args);
    if (!args.nowait) channel.send("exchange.unbind-ok", {});
  },
  "queue.declare"(channel, args) {
    if (args.queue.startsWith(replyQueue)) {
      // A responder may ask whether the requester is still there (RabbitMQ "Direct Reply-to"); the bare name always is.
      const name = clean(args.queue);
      if (name !== replyQueue && !channel.broker.replies.has(name)) {
        throw new ProtocolError(
          "NOT_FOUND",
          `no queue '${name}' in vhost '${channel.vhost.name}'`,
        );
      }
      channel.lastQueue = name;
      if (args.nowait) return;
      return channel.send("queue.declare-ok", { queue: name, messageCount: 0, consumerCount: 1 });
    }
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
  "queue.bind"(channel, args) {
    const queue = expandName(channel, args.queue);
    const routingKey = expandKey(channel, args.queue, args.routingKey);
    changeBinding(channel, "bind", args.exchange, "queue", queue, { ...args, routingKey });
    if (!args.nowait) channel.send("queue.bind-ok", {});
  },
  "queue.unbind"(channel, args) {
    const queue = expandName(channel, args.queue);
    const routingKey = expandKey(channel, args.queue, args.routingKey);
    changeBinding(channel, "unbind", args.exchange, "queue", queue, { ...args, routingKey });
    channel.send("queue.unbind-ok", {});
  },
  "queue.purge"(channel, args) {
    const messageCount = findQueue(channel, expandName(channel, args.queue)).purge();
    if (!args.nowait) channel.send("queue.purge-ok", { messageCount });
  },
  "queue.delete"(channel, args) {
    const name = clean(expandName(channel, args.queue));
    let messageCount = 0;
    if (channel.vhost.queues.has(name)) {
      const queue = findQueue(channel, name);
      queue.dropExpired();
      if (args.ifUnused && queue.consumers.length > 0) {
        throw new ProtocolError("PRECONDITION_FAILED", `${queue.label} in use`);
      }
      if (args.ifEmpty && queue.length > 0) {
        throw new ProtocolError("PRECONDITION_FAILED", `${queue.label} not empty`);
      }
      messageCount = channel.vhost.removeQueue(queue);
    }
    if (!args.nowait) channel.send("queue.delete-ok", { messageCount });
  },
};
