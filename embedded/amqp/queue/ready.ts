/**
 * The messages of a queue that are ready for delivery, in order.
 * @module
 */
import { Deque, Heap } from "./deque.ts";

/** What decides on the place of an entry. */
export interface Placed {
  /** Grows with every publish: the order among messages of one priority. */
  readonly position: number;
  readonly message: { readonly priority: number; readonly bodySize: number };
}

/** The ready messages of a queue. */
export interface Ready<E extends Placed> {
  readonly length: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
  /** Add one behind the others that have the same right to be delivered. */
  push(entry: E): void;
  /** Put one back that was delivered. */
  putBack(entry: E): void;
  /** The next to be delivered. */
  peek(): E | undefined;
  /** Take out the next to be delivered. */
  shift(): E | undefined;
  /** One is delivered at once, without ever having been ready. */
  passBy(): void;
  /** Take out all, in no particular order. */
  drain(): Iterable<E>;
}

/** Messages of one priority: those that came back go before those never delivered. */
class Level<E extends Placed> {
  readonly returned = new Heap<E>();
  readonly fresh = new Deque<E>();

  peek(): E | undefined {
    return this.returned.peek() ?? this.fresh.at(0);
  }

  shift(): E | undefined {
    return this.returned.pop() ?? this.fresh.shift();
  }
}

/** Ready messages of a classic queue, highest priority first. `push()` and `shift()` take constant time, `putBack()` log n. */
export class ClassicReady<E extends Placed> implements Ready<E> {
  length = 0;
  bytes = 0;
  private readonly levels: Level<E>[] = [];

  /** @param maxPriority Higher priorities count as this one; 0 keeps all in one order. */
  constructor(private readonly maxPriority: number) {}

  /** Add one behind all of its priority. */
  push(entry: E): void {
    this.levelOf(entry).fresh.push(entry);
    this.count(entry, 1);
  }

  /** Put one back to its place, by its position. */
  putBack(entry: E): void {
    this.levelOf(entry).returned.push(entry);
    this.count(entry, 1);
  }

  peek(): E | undefined {
    return this.top()?.peek();
  }

  shift(): E | undefined {
    const entry = this.top()?.shift();
    if (entry) this.count(entry, -1);
    return entry;
  }

  passBy(): void {}

  *drain(): Generator<E> {
    this.length = this.bytes = 0;
    for (const level of this.levels) {
      if (!level) continue;
      yield* level.returned.drain();
      yield* level.fresh.drain();
    }
  }

  private count({ message }: E, change: 1 | -1): void {
    this.length += change;
    this.bytes += change * message.bodySize;
  }

  private levelOf({ message }: E): Level<E> {
    return this.levels[Math.min(message.priority, this.maxPriority)] ??= new Level();
  }

  private top(): Level<E> | undefined {
    for (let i = this.levels.length - 1; i >= 0; i--) {
      const level = this.levels[i];
      if (level && (level.returned.length > 0 || level.fresh.length > 0)) return level;
    }
  }
}
