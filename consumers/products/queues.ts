/**
 * The two queues between the services.
 * @module
 */
import { type Broker, brokerText, textFlag } from "@event-sink/lib";

/** `--queue`: both services name the same. */
export const queueFlag = textFlag("queue of the events about products, from admin to service", {
  value: "NAME",
  default: "admin",
});

/** The queue for the other direction: likes, and requests for everything. */
export function feedbackQueue(queue: string): string {
  return `${queue}.feedback`;
}

/**
 * Returns what declares a queue. One that exists with other arguments, such as the non-durable one of older programs, is used as it is, with a
 * note. It tries on a channel of its own, as the broker closes a channel whose declaration it refuses.
 */
export function declaring(broker: Broker, queue: string): () => Promise<void> {
  let noted = false;
  return async () => {
    const channel = await broker.createChannel();
    channel.on("error", () => {}); // the same error as below
    try {
      await channel.assertQueue(queue, { durable: true });
    } catch (error) {
      if ((error as { code?: number }).code !== 406) throw error; // PRECONDITION_FAILED
      const text = `Queue '${queue}' exists with other arguments and is used as it is: ` +
        `when it is not durable, it does not outlive the broker (${brokerText(error)})`;
      if (!noted) broker.log.warn(text);
      noted = true;
      return; // the broker has closed the channel
    }
    await channel.close();
  };
}
