/**
 * The two queues between the services.
 * @module
 */
import { textFlag } from "@event-sink/lib";

/** `--queue`: both services name the same. */
export const queueFlag = textFlag("queue of the events about products, from admin to service", {
  value: "NAME",
  default: "admin",
});

/** The queue for the other direction: likes, and requests for everything. */
export function feedbackQueue(queue: string): string {
  return `${queue}.feedback`;
}
