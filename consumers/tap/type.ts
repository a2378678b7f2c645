/**
 * Which type an exchange has: it decides what a binding to it needs.
 * @module
 */
import { type Broker, brokerText, type Channel, UsageError } from "@event-sink/lib";
import type { Source } from "./source.ts";

/**
 * Checks that a binding with this key would see what the user means.
 *
 * @returns whether that is known: a user without the permission to declare is not told the type
 * @throws {UsageError} without a key where one is needed, and with one where none is looked at
 */
export async function checkKey(broker: Broker, source: Source): Promise<boolean> {
  const { exchange, chosen } = source;
  const type = await typeOf(broker, exchange);
  if (type === undefined || type === "topic") return type !== undefined;
  const looksAtNone = type === "fanout" || type === "headers";
  if (chosen && looksAtNone) {
    const instead = type === "fanout" ? "" : ", or choose with --where";
    throw new UsageError(
      `'${exchange}' is a ${type} exchange, which looks at no key: name it alone${instead}`,
    );
  }
  if (!chosen && !looksAtNone) {
    throw new UsageError(
      `'${exchange}' is a ${type} exchange: name a key of it, or several: ${exchange}:KEY`,
    );
  }
  return true;
}

/**
 * The type of an exchange. AMQP has no question for the type. But a declaration that differs is refused with what there is, before anything else is looked at
 * (406, https://www.rabbitmq.com/docs/exchanges#declaration); and one whose alternate exchange is a number is refused in any case, so that
 * nothing is ever declared, not even where the exchange is deleted meanwhile.
 *
 * @returns undefined when the broker does not say
 * @throws when there is no such exchange
 */
async function typeOf(broker: Broker, exchange: string): Promise<string | undefined> {
  const channel = await broker.createChannel();
  channel.on("error", () => {}); // the declaration fails with the same
  // amqplib's own, as the broker's would take what differs for what it asked for.
  const { assertExchange } = Object.getPrototypeOf(channel) as Channel;
  const never = { arguments: { "alternate-exchange": 1 } };
  try {
    await assertExchange.call(channel, exchange, "fanout", never);
  } catch (error) {
    const text = brokerText(error);
    if (/invalid type '.*' for arg 'alternate-exchange'/.test(text)) {
      throw new Error(`There is no exchange '${exchange}' at ${broker.name}`);
    }
    if (/inequivalent arg '(?!type)/.test(text)) return "fanout";
    return /inequivalent arg 'type' .* but current is '([^']*)'/s.exec(text)?.[1];
  }
}
