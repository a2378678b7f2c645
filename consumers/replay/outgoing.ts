/**
 * What becomes of a saved message that is published again.
 * @module
 */
import { type Outgoing, republishable } from "@event-sink/lib";
import type { MessageProperties } from "amqplib";
import { type Found, Unusable } from "./source.ts";

/** Where messages go rather than to where they were; undefined is their own. */
export interface Destination {
  exchange?: string;
  routingKey?: string;
}

/** What was counted about an earlier delivery, and where that was: a replay is a first one. */
const COUNTED =
  /^x-(attempts|redeliveries|reason|original-(exchange|routing-key|queue)|(first-|last-)?death.*|(delivery|acquired)-count)$/;

/**
 * The publication of a message: with its own id, time and headers, but without its TTL, its authenticated user and what was counted of its
 * deliveries. Further keys in CC and BCC (https://www.rabbitmq.com/docs/sender-selected) hold at its own exchange and key only.
 *
 * @throws {Unusable} for a dead letter that would go to its dead-letter queue again
 */
export function outgoingOf(
  { name, message, id }: Pick<Found, "name" | "message" | "id">,
  destination: Destination,
): Required<Omit<Outgoing, "patient">> {
  const { properties, body } = message;
  const { headers = {}, messageId, timestamp } = properties;
  const elsewhere = destination.exchange !== undefined || destination.routingKey !== undefined;
  const exchange = destination.exchange ?? message.exchange;
  const routingKey = destination.routingKey ?? message.routingKey;
  const diedIn = headers["x-original-queue"] ?? headers["x-first-death-queue"];
  if (!elsewhere && exchange === "" && typeof diedIn === "string" && diedIn !== routingKey) {
    throw new Unusable(
      `${name}: a dead letter of queue '${diedIn}', which would be in '${routingKey}' again: send it back with ` +
        "`dead-letters replay`, or say where to with --exchange and --routing-key",
    );
  }
  const kept = Object.entries(headers).filter(([name]) =>
    !COUNTED.test(name) && !(elsewhere && /^B?CC$/.test(name))
  );
  return {
    exchange,
    routingKey,
    body,
    properties: {
      ...republishable(properties as MessageProperties),
      messageId: messageId || id(),
      timestamp, // one that has none gets none
      headers: Object.fromEntries(kept),
    },
  };
}
