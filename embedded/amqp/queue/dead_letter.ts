/**
 * What becomes of a message that is dead-lettered (RabbitMQ "Dead Letter Exchanges").
 * @module
 */
import type { Field, Table } from "../protocol/fields.ts";
import type { Message } from "../message/message.ts";
import { headerKeys } from "../protocol/properties.ts";
import type { DeathReason } from "./letters.ts";
import type { Queue } from "./queue.ts";

/**
 * The message to publish to `exchange` in place of one that died in `queue`, with its x-death header brought up to date. What a
 * client wrote into such headers counts for nothing, as from RabbitMQ 4.0 on.
 */
export function deadMessage(
  message: Message,
  queue: Queue,
  exchange: string,
  reason: DeathReason,
  now: number,
): Message {
  const properties = message.properties();
  const headers: Table = new Map(properties.headers ?? []);
  const previous = message.died ? headers.get("x-death") : undefined;
  const keys = [message.routingKey, ...(message.died ? message.copies : headerKeys(headers, "CC"))];
  const { expiration } = properties;
  const death: Table = new Map<string, Field>([
    ...(expiration === undefined ? [] : [["original-expiration", text(expiration)] as const]),
    ["count", { t: "l", v: 1 }],
    ["reason", text(reason)],
    ["queue", text(queue.name)],
    ["time", { t: "T", v: Math.floor(now / 1000) }],
    ["exchange", text(message.exchange)],
    ["routing-keys", { t: "A", v: keys.map(text) }],
  ]);
  for (const which of previous === undefined ? ["first", "last"] : ["last"]) {
    headers.set(`x-${which}-death-reason`, text(reason));
    headers.set(`x-${which}-death-queue`, text(queue.name));
    headers.set(`x-${which}-death-exchange`, text(message.exchange));
  }
  headers.set("x-death", { t: "A", v: withDeath(previous, death) });
  const key = queue.settings.deadLetterKey;
  return message.derive(
    exchange,
    key === undefined ? [message.routingKey, ...message.copies] : [key],
    { ...properties, headers: sorted(headers), expiration: undefined },
    true,
  );
}

/** RabbitMQ sorts a table that it changes. */
function sorted(table: Table): Table {
  return new Map([...table].sort(([a], [b]) => a < b ? -1 : 1));
}

function text(v: string): Field {
  return { t: "S", v };
}

/** One element for each queue and reason, the latest first, with a count. */
function withDeath(previous: Field | undefined, death: Table): Field[] {
  const deaths = previous?.t === "A" ? previous.v : [];
  const at = deaths.findIndex((field) =>
    field.t === "F" && value(field.v, "queue") === value(death, "queue") &&
    value(field.v, "reason") === value(death, "reason")
  );
  if (at < 0) return [{ t: "F", v: death }, ...deaths];
  const same = new Map((deaths[at] as Field & { t: "F" }).v);
  same.set("count", { t: "l", v: Number(same.get("count")!.v) + 1 });
  return [{ t: "F", v: same }, ...deaths.filter((_, i) => i !== at)];
}

function value(table: Table, key: string): unknown {
  return table.get(key)?.v;
}

/**
 * Whether a dead-lettered message has been in `queue` before without ever having been rejected since: such a message is
 * dropped, or it would go round for ever.
 */
export function isCycle(dead: Message, queue: Queue): boolean {
  const deaths = dead.properties().headers?.get("x-death");
  if (deaths?.t !== "A") return false;
  for (const field of deaths.v) {
    if (field.t !== "F" || value(field.v, "reason") === "rejected") return false;
    if (value(field.v, "queue") === queue.name) return true;
  }
  return false;
}
