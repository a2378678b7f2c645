/**
 * Messages that fail twice before they are handled: they travel through the retry queues, and none is lost on its way.
 * @module
 */
import { type Broker, type Channel, consume, pause, type Publisher } from "@event-sink/lib";
import type { Account } from "./world.ts";

/** Messages that fail, and their consumer. */
export interface Failing {
  readonly queue: string;
  /** Resolves when the consumer has ended; rejects when it failed. */
  readonly consuming: Promise<void>;
  /** Publishes so many per second until the signal aborts. */
  load(rate: number, signal: AbortSignal): Promise<void>;
  /** Publishes one that does not fail; resolves when it is confirmed. */
  probe(): Promise<string>;
  /** Whether the message of a probe was handled. */
  arrived(id: string): boolean;
  /** Those that were confirmed, and those of them that were not handled yet. */
  check(): Account & { again: number };
}

/** How often each fails. */
const FAILURES = 2;

/** Starts the consumer, until the signal aborts. */
export async function startFailing(
  broker: Broker,
  { publisher, signal }: { publisher: Publisher; signal: AbortSignal },
): Promise<Failing> {
  const queue = "chaos.failing";
  const confirmed = new Set<string>();
  const handled = new Map<string, number>();
  const early: string[] = [];
  const ready = Promise.withResolvers<void>();
  let count = 0;
  const consuming = consume(broker, {
    queue,
    declare: (channel: Channel) => channel.assertQueue(queue, { durable: true }),
    prefetch: 50,
    signal,
    ready: ready.resolve,
  }, ({ text, attempt }) => {
    const fails = text.startsWith("probe") ? 0 : FAILURES;
    if (attempt <= fails) throw new Error(`attempt ${attempt} of ${text} fails`);
    if (attempt > fails + 1) early.push(`${text} was tried ${attempt} times`);
    handled.set(text, (handled.get(text) ?? 0) + 1);
  });
  await Promise.race([ready.promise, consuming]);

  async function put(kind: string): Promise<string> {
    const id = `${kind} ${++count}`;
    await publisher.publish({ routingKey: queue, body: id });
    confirmed.add(id);
    return id;
  }
  return {
    queue,
    consuming,
    async load(rate, signal) {
      const all: Promise<unknown>[] = [];
      while (!signal.aborted) {
        await publisher.ready();
        all.push(put("message"));
        await pause(1000 / rate, signal).catch(() => {}); // the signal ends the loop
      }
      await Promise.all(all);
    },
    probe: () => put("probe"),
    arrived: (id) => handled.has(id),
    check: () => ({
      accepted: confirmed.size,
      missing: [...confirmed].filter((id) => !handled.has(id)),
      excess: early,
      again: [...handled.values()].filter((times) => times > 1).length,
    }),
  };
}
