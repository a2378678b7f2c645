/**
 * The messages of a quorum queue that are ready for delivery, in RabbitMQ 4's order.
 * @module
 */
import { Deque } from "./deque.ts";
import type { Placed, Ready } from "./ready.ts";

/** Priorities from this on are high; those below it, and messages without one, are normal. */
const high = 5;
/** High messages that are taken before a normal one gets its turn. */
const weight = 2;

/**
 * Ready messages of a quorum queue: those that came back first, in the order in which they came; then two high ones to one
 * normal one (RabbitMQ 4.0 "Quorum Queues: Message Priorities", `rabbit_fifo_q`). Everything takes constant time.
 */
export class QuorumReady<E extends Placed> implements Ready<E> {
  length = 0;
  bytes = 0;
  private readonly returned = new Deque<E>();
  private readonly high = new Deque<E>();
  private readonly normal = new Deque<E>();
  /** How many were taken since a normal one had its turn. */
  private taken = 0;

  push(entry: E): void {
    (entry.message.priority < high ? this.normal : this.high).push(entry);
    this.count(entry, 1);
  }

  putBack(entry: E): void {
    this.returned.push(entry);
    this.count(entry, 1);
  }

  peek(): E | undefined {
    return this.next().at(0);
  }

  shift(): E | undefined {
    const from = this.next();
    const entry = from.shift();
    if (!entry) return undefined;
    if (from !== this.returned) this.passBy();
    this.count(entry, -1);
    return entry;
  }

  passBy(): void {
    this.taken = this.taken === weight ? 0 : this.taken + 1;
  }

  *drain(): Generator<E> {
    this.length = this.bytes = this.taken = 0;
    for (const level of [this.returned, this.high, this.normal]) yield* level.drain();
  }

  /** Where the next message is. */
  private next(): Deque<E> {
    const { returned, high, normal } = this;
    if (returned.length > 0) return returned;
    if (high.length === 0) return normal;
    return normal.length > 0 && this.taken === weight ? normal : high;
  }

  private count({ message }: E, change: 1 | -1): void {
    this.length += change;
    this.bytes += change * message.bodySize;
  }
}
