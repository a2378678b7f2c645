/**
 * Publishing the outbox: what is stored is published in the end, however often the broker or this process goes away.
 * @module
 */
import { type Broker, createPublisher, type Log, pause } from "@event-sink/lib";
import { type Event, messageOf } from "../event.ts";
import type { ObjectStore, OutboxRow } from "../datagen/object_store.ts";
import { declare } from "../topology.ts";

/** Events that are on their way to the broker at once. */
const BATCH = 500;

/**
 * Publishes what is in the outbox, and what comes, until the signal aborts. An event leaves the outbox when the broker has confirmed it.
 *
 * @throws when the broker refuses the declaration
 */
export async function publishOutbox(
  broker: Broker,
  store: ObjectStore,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<void> {
  await using publisher = await createPublisher(broker, { declare, signal });
  const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  let failing = false;
  while (!signal.aborted) {
    const added = store.added();
    const rows = store.unpublished(BATCH);
    if (rows.length === 0) {
      await Promise.race([added, aborted]);
      continue;
    }
    const confirmed: OutboxRow[] = [];
    let failure: Error | undefined;
    await Promise.all(rows.map(async (row) => {
      try {
        await publisher.publish(messageOf(JSON.parse(row.event) as Event));
        confirmed.push(row);
      } catch (error) {
        failure = error as Error;
      }
    }));
    store.published(confirmed);
    if (signal.aborted) return;
    if (failure) {
      if (!failing) log.warn(`${failure.message}. ${store.backlog()} events wait in the outbox`);
      await pause(1000, signal).catch(() => {}); // aborted: the loop ends
    } else if (failing) log.info("The outbox is published again");
    failing = failure !== undefined;
  }
}
