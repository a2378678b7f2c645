/**
 * The consumers of a queue, and whose turn it is.
 * @module
 */
import type { QueueSettings } from "./settings.ts";

/** What decides on a consumer's turn. */
export interface Waiting {
  readonly priority: number;
  readonly exclusive: boolean;
  /** Deliveries that it has not acknowledged. */
  readonly unacked: number;
  /** Whether its prefetch, its channel's and its connection's output have room. */
  canTake(): boolean;
}

/** The consumers of a queue, those of higher priority first. */
export class Consumers<C extends Waiting> {
  private list: C[] = [];
  /** The consumer that alone gets messages, with x-single-active-consumer. */
  private active: C | undefined;

  constructor(private readonly settings: QueueSettings) {}

  get length(): number {
    return this.list.length;
  }

  /** Whether a consumer has the queue for itself. */
  get inExclusiveUse(): boolean {
    return this.list.length > 0 && this.list[0]!.exclusive;
  }

  /** Add a consumer behind those of its priority. */
  add(consumer: C): void {
    const at = this.list.findIndex((other) => other.priority < consumer.priority);
    if (at < 0) this.list.push(consumer);
    else this.list.splice(at, 0, consumer);
    this.active ??= consumer;
  }

  /** @returns false when it was not one of them */
  remove(consumer: C): boolean {
    const at = this.list.indexOf(consumer);
    if (at < 0) return false;
    this.list.splice(at, 1);
    if (this.active === consumer) this.active = this.list[0];
    return true;
  }

  /** Remove all. */
  clear(): C[] {
    this.active = undefined;
    return this.list.splice(0);
  }

  /** The consumer whose turn it is: of the highest priority with room, in turn among equals. */
  next(): C | undefined {
    if (this.settings.singleActive) return this.nextActive();
    const { list } = this;
    for (let i = 0; i < list.length; i++) {
      const consumer = list[i]!;
      if (!consumer.canTake()) continue;
      if (list.length > 1) {
        let last = i;
        while (last + 1 < list.length && list[last + 1]!.priority === consumer.priority) last++;
        list.copyWithin(i, i + 1, last + 1);
        list[last] = consumer;
      }
      return consumer;
    }
  }

  /**
   * The single active consumer, if it has room. In a quorum queue one of higher priority takes its place, once what it has is
   * acknowledged (RabbitMQ 4.0 "Consumers: Single Active Consumer").
   */
  private nextActive(): C | undefined {
    const { active } = this;
    const first = this.list[0];
    if (active && first!.priority > active.priority && this.settings.type === "quorum") {
      if (active.unacked > 0) return undefined;
      this.active = first;
    }
    return this.active?.canTake() ? this.active : undefined;
  }
}
