/**
 * Passive declares, again and again: how many messages wait in a queue, and how many consumers it has (AMQP 0-9-1, queue.declare, passive).
 * @module
 */
import { type Broker, brokerText, type Channel, pause } from "@event-sink/lib";

/** What a passive declare says. */
export interface Seen {
  /** Messages ready for delivery: those that are delivered and not acknowledged are not among them. */
  waiting: number;
  consumers: number;
}

/** Looks every `interval` milliseconds until `signal` aborts. */
export async function queueLook(
  broker: Broker,
  { interval, look, signal }: {
    interval: number;
    look: (inspect: (queue: string) => Promise<Seen | undefined>) => Promise<void>;
    signal: AbortSignal;
  },
): Promise<void> {
  let channel: Channel | undefined;
  /** Undefined when there is no such queue, which closes the channel. */
  async function inspect(queue: string): Promise<Seen | undefined> {
    if (!channel) {
      const opened = channel = await broker.createChannel();
      opened.on("error", () => {}); // checkQueue() fails with the same
      opened.on("close", () => channel = channel === opened ? undefined : channel);
    }
    try {
      const { messageCount, consumerCount } = await channel.checkQueue(queue);
      return { waiting: messageCount, consumers: consumerCount };
    } catch (error) {
      channel = undefined;
      if ((error as { code?: number }).code === 404) return undefined;
      throw error;
    }
  }
  while (!signal.aborted) {
    try {
      await look(inspect);
    } catch (error) {
      if (signal.aborted) return;
      if (broker.failure) throw broker.failure;
      broker.log.debug(`Cannot look at the queues: ${brokerText(error)}`);
    }
    await pause(interval, signal).catch(() => {}); // the signal ends the loop
  }
}
