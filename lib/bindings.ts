/**
 * The bindings of a consumer's queue: an exchange that is deleted takes them along, and nobody is told.
 * @module
 */
import type { Channel } from "amqplib";
import type { Broker } from "./broker.ts";
import { pause } from "./wait.ts";

type Binding = Parameters<Channel["bindQueue"]>;

/** Milliseconds between two looks. */
const INTERVAL = 10_000;

/** Runs what declares on a channel, and returns the bindings that it has made. */
export async function bindingsOf(
  channel: Channel,
  declare: () => Promise<unknown>,
): Promise<Binding[]> {
  const made: Binding[] = [];
  const { bindQueue } = channel;
  channel.bindQueue = (...binding) => {
    made.push(binding);
    return bindQueue.apply(channel, binding);
  };
  try {
    await declare();
  } finally {
    channel.bindQueue = bindQueue;
  }
  return made;
}

/**
 * Binds again from time to time, until the signal aborts; to bind does nothing while the binding is there. On channels of their own, as the broker
 * closes that of a binding to an exchange that is gone.
 *
 * @param gone is called then, with what is missing
 */
export async function keepBound(
  broker: Broker,
  bindings: Binding[],
  { gone, signal }: { gone: (what: string) => void; signal: AbortSignal },
): Promise<void> {
  while (bindings.length > 0 && !signal.aborted) {
    try {
      await pause(INTERVAL, signal);
      const channel = await broker.createChannel();
      channel.on("error", () => {}); // bindQueue() fails with the same
      for (const binding of bindings) await channel.bindQueue(...binding);
      await channel.close();
    } catch (error) {
      const { code, message } = error as Error & { code?: number };
      if (code === 404 && !signal.aborted) return gone(message);
      // An outage is told elsewhere.
    }
  }
}
