#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message that arrives later.
 *
 * Run: `deno task send --in 30s "tea is ready"`.
 *
 * A queue drops expired messages at its head only, so that in one queue a long delay would hold up the short ones behind it. Here the delay
 * is written in binary, and every digit has a queue of its own in which all messages wait equally long: a message passes through those of
 * its ones, and skips those of its zeros.
 * @module
 */
import { type Channel, send, textFlag } from "@event-sink/lib";

const queue = "delayed_queue";
/** Milliseconds that the lowest digit stands for: delays are rounded up to it. */
const step = 100;
/** Digits: the longest delay is 2^24 steps, 19 days. */
const digits = 24;
const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

async function declare(channel: Channel) {
  await channel.assertQueue(queue, { durable: true }); // queue.declare
  for (let digit = 0; digit < digits; digit++) {
    const level = `delayed.${digit}`;
    const ones = "*.".repeat(digits - 1 - digit) + "1.#"; // keys in which this digit is 1
    const zeros = "*.".repeat(digits - 1 - digit) + "0.#";
    await channel.assertExchange(level, "topic", { durable: true }); // exchange.declare
    // queue.declare: x-message-ttl is how long it holds a message, x-dead-letter-exchange where it goes then, its key unchanged
    const next = digit > 0
      ? { deadLetterExchange: `delayed.${digit - 1}` }
      : { deadLetterExchange: "", deadLetterRoutingKey: queue };
    await channel.assertQueue(level, { durable: true, messageTtl: step * 2 ** digit, ...next });
    await channel.bindQueue(level, level, ones); // queue.bind: wait here
    if (digit > 0) await channel.bindExchange(`delayed.${digit - 1}`, level, zeros); // exchange.bind: go on at once
    else await channel.bindQueue(queue, level, zeros);
  }
}

await send(import.meta, {
  about: "Send a message that arrives later.",
  flags: {
    in: textFlag("time until it arrives: a number and ms, s, m, h or d", {
      value: "TIME",
      default: "0s",
      parse: (text) => `${stepsOf(text)}`,
    }),
  },
  declare,
}, async (publisher, { body, properties }, { flags }) => {
  const steps = Number.parseInt(flags.in);
  const headers = { due: Date.now() + steps * step };
  const binary = steps.toString(2);
  // basic.publish to the exchange of the first 1, with the digits as the routing key; without a delay straight to the queue.
  await publisher.publish({
    exchange: steps === 0 ? "" : `delayed.${binary.length - 1}`,
    routingKey: steps === 0 ? queue : [...binary.padStart(digits, "0")].join("."),
    body,
    properties: { ...properties, headers },
  });
});

function stepsOf(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const steps = Math.ceil(Number(number) * units[unit as keyof typeof units] / step);
  if (steps < 2 ** digits) return steps;
  throw new RangeError(`expected a time up to 19d, such as 30s or 1.5h, not '${text}'`);
}
