/**
 * Declaring queues that other programs may have declared before, in another way.
 * @module
 */
import type { Channel } from "amqplib";
import { brokerText } from "./broker.ts";
import type { Log } from "./log.ts";

/**
 * Declares durable queues, and uses one as it is that another program has declared in another way, with a note: older programs' queues are not
 * durable.
 *
 * @param open opens a channel, such as `broker.createChannel`: a refusal closes it
 * @returns what declares a queue; run it for each new channel
 */
export function declareAsItIs(
  open: () => Promise<Channel>,
  log: Log,
): (queue: string) => Promise<void> {
  const told = new Set<string>();
  return async (queue) => {
    const channel = await open();
    channel.on("error", () => {}); // assertQueue() fails with the same
    try {
      await channel.assertQueue(queue, { durable: true });
    } catch (error) {
      if ((error as { code?: number }).code !== 406) throw error; // PRECONDITION_FAILED
      if (told.has(queue)) return;
      told.add(queue);
      const reason = brokerText(error);
      const why = /durable/.test(reason)
        ? "not durable, so it does not outlive the broker"
        : reason;
      log.info(`Queue '${queue}' is used as it is: ${why}`);
      return;
    }
    await channel.close();
  };
}
