/**
 * How fast a connection is read from, so that no client keeps the others from their turn.
 * @module
 */
import { setImmediate } from "node:timers";
import type { Output } from "../protocol/output.ts";

/** Unsent output above which nothing more is delivered, and unsent answers above which nothing more is read. */
const outputMark = 1024 * 1024;
/** Messages that may wait for consumers in a queue before its publishers are slowed. */
const shortQueue = 256;
/** Messages that consumers must have got meanwhile: those who are slow themselves hold up no publisher. */
const progress = 32;
/** Milliseconds that a publisher to a longer one leaves to others after what was read at once, 64 KB or less. */
const rest = 1;

/** What is published to, as far as it decides on the pace. */
export interface Published {
  /** Messages that wait. */
  readonly length: number;
  /** Messages delivered so far. */
  readonly deliveries: number;
}

/** The pace of one connection. */
export class Pace {
  /** Bytes of deliveries among what was written since the output was last empty. */
  private deliveries = 0;
  /** A queue that was published to since the last pause, and whose consumers are behind. */
  private behind: Published | undefined;
  /** Its deliveries at the last pause. */
  private before = 0;

  constructor(private readonly output: Output) {}

  /** Whether more may be delivered. */
  get writable(): boolean {
    return this.output.unsent < outputMark;
  }

  /**
   * Whether a client leaves its answers where they are, and is to get no more of them. One that does not take its deliveries
   * is read from all the same: it may be waiting until its acknowledgements are.
   */
  get unanswered(): boolean {
    return this.output.unsent - this.deliveries > outputMark;
  }

  /** Write deliveries. */
  deliver(write: () => void): void {
    const before = this.output.unsent;
    write();
    this.deliveries += this.output.unsent - before;
  }

  /** The socket took what was written. */
  taken(): void {
    if (this.output.unsent === 0) this.deliveries = 0;
  }

  /** A message was published to a queue that has consumers. */
  published(queue: Published): void {
    if (queue.length > shortQueue) this.behind = queue;
  }

  /**
   * Leave the event loop to others. A read that need not wait does not: whoever publishes without a pause would keep consumers
   * from taking what he publishes, and the queue would only grow.
   * @param busy The last read brought much
   */
  async pause(busy: boolean): Promise<void> {
    const { behind, before } = this;
    this.behind = undefined;
    this.before = behind?.deliveries ?? 0;
    if (behind && behind.deliveries >= before + progress) {
      await new Promise<void>((resolve) => setTimeout(resolve, rest));
    } else if (busy) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
