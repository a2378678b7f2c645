/**
 * What every `recv` that handles message by message does.
 * @module
 */
import { type Channel, connectBroker } from "./broker.ts";
import { consume, type ConsumeOptions, deadLetterQueue, type Message } from "./consume.ts";
import { type BrokerFlags, brokerFlags } from "./declare.ts";
import { type Flag, type Flags, textFlag, type Values } from "./flags.ts";
import { schemaFlag, schemaOf } from "./schema.ts";
import { runTool, type Tool } from "./tool.ts";

/** What a `recv` says of itself. */
export interface RecvUsage<F extends Flags>
  extends Pick<ConsumeOptions, "prefetch" | "attempts" | "retryDelay"> {
  /** What it does, for `--help`. */
  about: string;
  /** The queue, or the flag `--queue` that names it. */
  queue: string | Flag<string>;
  /** Flags besides those about the broker and logging. */
  flags?: F;
  /** Declares the queue, its exchange and bindings; runs again on every new channel. */
  declare: (channel: Channel, queue: string) => Promise<unknown>;
}

/** `--queue` of a tool that consumes from an exchange. */
export function queueFlag(initial: string): Flag<string> {
  return textFlag("queue to consume from, bound to the exchange; each queue gets every message", {
    value: "NAME",
    default: initial,
  });
}

/**
 * A tool that consumes a queue until Ctrl-C, and says when it waits for messages.
 *
 * @param handler handles one message, see {@linkcode consume}
 */
export function recv<F extends Flags = Record<never, never>>(
  meta: ImportMeta,
  usage: RecvUsage<F>,
  handler: (message: Message, tool: Tool<F>) => Promise<void>,
): Promise<void> {
  const { queue, declare } = usage;
  const named: Flags = typeof queue === "string" ? {} : { queue };
  const notes = typeof queue === "string"
    ? `Dead-letter queue: ${deadLetterQueue(queue)}`
    : `Dead-letter queue: ${deadLetterQueue("<queue>")}, such as ${deadLetterQueue(queue.default)}`;
  const schema = schemaFlag("dead-lettered");
  const flags: Flags = { ...brokerFlags, ...named, ...usage.flags, schema };
  return runTool(meta, { about: usage.about, notes, flags, longRunning: true }, async (tool) => {
    const { signal, log, print } = tool;
    const { amqpUrl, queueType } = tool.flags as unknown as Values<BrokerFlags>;
    const { queue: name = queue as string } = tool.flags as Record<string, string>;
    const check = await schemaOf((tool.flags as Record<string, string>).schema!, log);
    await using broker = await connectBroker({ amqpUrl, queueType, signal, log });
    await consume(broker, {
      ...usage,
      queue: name,
      declare: (channel) => declare(channel, name),
      signal,
      ready: () => print(" [*] Waiting for messages. To exit press CTRL+C"),
    }, (message) => {
      check(message.body);
      return handler(message, tool as unknown as Tool<F>);
    });
  });
}
