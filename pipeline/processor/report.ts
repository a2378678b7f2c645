/**
 * What a processor tells of its tasks.
 * @module
 */
import { createEvent, type EventOf, messageOf } from "../event.ts";
import type { PersistentPublisher } from "../persistent_publisher.ts";

/** The attempt at a task that is told of. */
export interface Attempt {
  /** The event that asked for the task. */
  event: EventOf<"TASK_CREATED">;
  /** Name of this processor. */
  processor: string;
  /** How often the task is tried: 1, 2, ... */
  attempt: number;
}

/**
 * Publishes an event about an attempt; resolves when the broker has confirmed it.
 *
 * @param id the event's id
 * @param spent seconds since the attempt began
 * @param reason why it failed
 */
export type Report = (
  type: "TASK_STARTED" | "TASK_FINISHED" | "TASK_FAILED",
  id: string,
  spent: number,
  reason?: string,
) => Promise<void>;

/** Returns what publishes the events about one attempt. */
export function reporter(
  publisher: PersistentPublisher,
  { event, processor, attempt }: Attempt,
): Report {
  return (type, id, spent, reason) => {
    const about = { task: event.data, processor, attempt, spent };
    const data = { ...about, ...reason !== undefined && { reason } };
    const told = createEvent(type, { id, source: `/${processor}`, data }, event);
    return publisher.publish(messageOf(told));
  };
}
