/**
 * From the names in a method to what they mean, and the names that are refused.
 * @module
 */
import type { Exchange } from "../broker/exchange.ts";
import { type Table, typeNames } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Owner, Queue } from "../queue/queue.ts";
import type { Channel } from "./channel.ts";

/** The pseudo-queue of direct reply-to (RabbitMQ "Direct Reply-to"). */
export const replyQueue = "amq.rabbitmq.reply-to";

/** RabbitMQ takes line breaks out of names. */
export function clean(name: string): string {
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

/** Refuse a queue that is another connection's own. @throws ProtocolError 405 */
export function checkOwner(queue: Queue, owner: Owner | undefined): void {
  if (queue.owner === owner) return;
  throw new ProtocolError(
    "RESOURCE_LOCKED",
    `cannot obtain exclusive access to locked ${queue.label}. It could be originally declared on another ` +
      "connection or the exclusive property value does not match that of the original declaration.",
  );
}

/** Refuse the default exchange. @throws ProtocolError 403 */
export function refuseDefault(name: string): void {
  if (name === "") {
    throw new ProtocolError("ACCESS_REFUSED", "operation not permitted on the default exchange");
  }
}

/** Refuse to declare a name that begins with `amq.`. @throws ProtocolError 403 */
export function refuseReserved(kind: string, name: string): void {
  if (name.startsWith("amq.")) {
    throw new ProtocolError(
      "ACCESS_REFUSED",
      `${kind} name '${name}' contains reserved prefix 'amq.*'`,
    );
  }
}

/** Refuse an argument that names an exchange and is no string. @throws ProtocolError 406 */
export function checkNameArg(label: string, args: Table, key: string): void {
  const field = args.get(key);
  if (field && field.t !== "S") {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid type '${typeNames[field.t]}' for arg '${key}' in ${label}`,
    );
  }
}
