/**
 * Declaring queues and exchanges: with the type of queue that the user wants, and using what is there.
 * @module
 */
import type { Channel, Options } from "amqplib";
import { choiceFlag, type Flag } from "./flags.ts";
import type { Log } from "./log.ts";
import { amqpUrlFlag } from "./url.ts";

/** Type of a queue (https://www.rabbitmq.com/docs/quorum-queues, https://www.rabbitmq.com/docs/classic-queues). */
export type QueueType = "classic" | "quorum";

/** The flags of every tool that uses the broker. */
export type BrokerFlags = {
  /** The broker. */
  amqpUrl: Flag<string>;
  /** Type of the queues that are declared; undefined leaves it to the broker. */
  queueType: Flag<QueueType | undefined>;
};

/** `--amqp-url` and `--queue-type`. */
export const brokerFlags: BrokerFlags = {
  amqpUrl: amqpUrlFlag,
  queueType: choiceFlag<QueueType, undefined>(
    "type of the queues that are declared, classic or quorum; the broker's default if unset",
    ["classic", "quorum"],
    { value: "TYPE", default: undefined, env: ["QUEUE_TYPE"] },
  ),
};

/** A refused declaration that succeeds when it is made again, on another channel: what exists is used as it is then, or was deleted. */
export class UsedAsItIs extends Error {}

/** What a delay or a priority hangs on: with other values of these a queue does not serve. */
const NEEDED = /^x-(dead-letter-exchange|dead-letter-routing-key|message-ttl|max-priority)$/;
/** One that messages wait in for another queue must not lose them when the broker restarts. */
const NEEDED_BEFORE_ANOTHER = new RegExp(`${NEEDED.source}|^durable$`);

/**
 * Returns what makes a channel declare durable queues of the given type, and use what exists with other properties as it is, with a line that
 * says what differs. A broker refuses to declare it and closes the channel (406), so that the declaration fails with
 * {@linkcode UsedAsItIs} once. An exchange of another type is an error, and so is a queue that would not do what was asked of it.
 */
export function createDeclarer(log: Log, type?: QueueType): <C extends Channel>(channel: C) => C {
  /** What exists in another form, and the values that differ. */
  const existing = new Map<string, string>();

  /** Declares, or only checks what is known to exist in another form; `needed` are the properties that must not differ. */
  async function once<T>(
    key: string,
    needed: RegExp,
    { declare, check }: { declare: () => Promise<T>; check: () => Promise<T> },
  ): Promise<T> {
    try {
      return await (existing.has(key) ? check() : declare());
    } catch (error) {
      const { code, message } = error as Error & { code?: number };
      if (existing.delete(key) && code === 404) throw new UsedAsItIs(message);
      const differing = /inequivalent arg '([^']*)'(?:.*: (received .*?)"?$)?/s.exec(message);
      if (code !== 406 || !differing) throw error;
      const [, property = "", values = ""] = differing;
      if (needed.test(property) && !values.startsWith("received none")) throw error;
      existing.set(key, values);
      const what = property === "durable"
        ? "not durable, so it does not outlive the broker"
        : `with another ${property}${values && ` (${values})`}`;
      const text = `${key[0]!.toUpperCase()}${key.slice(1)} is used as it is: ${what}`;
      // A retry queue asks for these where it may get them.
      const asked = property === "x-dead-letter-strategy" || property === "x-overflow";
      log[asked ? "debug" : "info"](text);
      throw new UsedAsItIs(text);
    }
  }

  return (channel) => {
    const { assertQueue, assertExchange, consume } = channel;
    channel.assertQueue = (name, options = {}) => {
      // Under a name that the broker makes there is nothing yet.
      if (!name) return assertQueue.call(channel, name, options);
      return once(
        `queue '${name}'`,
        options.deadLetterExchange === undefined ? NEEDED : NEEDED_BEFORE_ANOTHER,
        {
          declare: () => assertQueue.call(channel, name, typed(options, type)),
          check: () => channel.checkQueue(name),
        },
      );
    };
    channel.assertExchange = (name, kind, options) =>
      once(`exchange '${name}'`, /^type$/, {
        declare: () => assertExchange.call(channel, name, kind, options),
        check: () => channel.checkExchange(name).then(() => ({ exchange: name })),
      });
    channel.consume = async (name, ...how) => {
      const isStream = /current is .*'stream'/.test(existing.get(`queue '${name}'`) ?? "");
      if (!isStream) return await consume.call(channel, name, ...how);
      // A consumer begins at its end, and what it gives back is gone for it.
      const text = `Cannot consume '${name}': it exists as a stream, and would lose messages here`;
      throw Object.assign(new Error(text), { code: 406 });
    };
    return channel;
  };
}

/**
 * With these a quorum queue passes dead letters on until their queues have confirmed them; otherwise a node that dies may lose them
 * (https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering).
 */
export const AT_LEAST_ONCE: Record<string, string> = {
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** The options with the type of queue. What quorum queues cannot be stays as it is: temporary, with more than two priorities. */
function typed(options: Options.AssertQueue, type?: QueueType): Options.AssertQueue {
  const { durable = true, exclusive, autoDelete, maxPriority, deadLetterExchange } = options;
  const temporary = !durable || exclusive || autoDelete;
  if (!type || temporary || maxPriority !== undefined) return options;
  const safely = type === "quorum" && deadLetterExchange !== undefined ? AT_LEAST_ONCE : {};
  return { ...options, arguments: { "x-queue-type": type, ...safely, ...options.arguments } };
}
