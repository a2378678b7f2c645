#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message with headers to the headers exchange header_logs.
 *
 * Run: `deno task send --header format=pdf,type=report "a file"`.
 * @module
 */
import { send, textFlag, UsageError } from "@event-sink/lib";

await send(import.meta, {
  about: "Send a message with headers to the headers exchange header_logs.",
  flags: {
    header: textFlag("headers of the message, separated by commas", {
      value: "NAME=VALUE,...",
      default: "",
      parse: checked,
    }),
  },
  async declare(channel) {
    await channel.assertExchange("header_logs", "headers", { durable: true }); // exchange.declare
  },
}, async (publisher, { body, properties }, { flags }) => {
  if (Deno.args.filter((arg) => /^--header(=|$)/.test(arg)).length > 1) {
    throw new UsageError("--header is given twice: separate headers by commas");
  }
  const pairs = flags.header.split(",").filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) {
    throw new UsageError("--header: a message has each header once");
  }
  // basic.publish: the exchange compares the headers with each binding's arguments, and ignores the routing key.
  await publisher.publish({
    exchange: "header_logs",
    routingKey: "",
    body,
    properties: { ...properties, headers: Object.fromEntries(pairs) },
  });
});

function checked(text: string): string {
  const wrong = text.split(",").find((pair) => !/^[^=]+=/.test(pair));
  if (wrong === undefined) return text;
  throw new TypeError(`expected NAME=VALUE, not '${wrong}'`);
}
