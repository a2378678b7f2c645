/**
 * Two containers for queues: a double-ended queue and a heap.
 * @module
 */

/** A queue with constant-time `push`, `shift` and indexing: a ring that doubles when full. */
export class Deque<T> {
  private ring: (T | undefined)[] = new Array(16).fill(undefined);
  private head = 0;
  length = 0;

  push(value: T): void {
    if (this.length === this.ring.length) this.resize(this.length * 2);
    this.ring[(this.head + this.length++) & (this.ring.length - 1)] = value;
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const value = this.ring[this.head];
    this.ring[this.head] = undefined;
    this.head = (this.head + 1) & (this.ring.length - 1);
    if (--this.length < this.ring.length >>> 3 && this.ring.length > 1024) {
      this.resize(this.ring.length >>> 1);
    }
    return value;
  }

  /** The value `index` places behind the first. */
  at(index: number): T | undefined {
    return index < this.length
      ? this.ring[(this.head + index) & (this.ring.length - 1)]
      : undefined;
  }

  /** Replace the value `index` places behind the first. */
  set(index: number, value: T): void {
    this.ring[(this.head + index) & (this.ring.length - 1)] = value;
  }

  /** Remove and return all values, first to last. */
  drain(): T[] {
    const values: T[] = new Array(this.length);
    for (let i = 0; i < values.length; i++) values[i] = this.at(i)!;
    this.ring = new Array(16).fill(undefined);
    this.head = this.length = 0;
    return values;
  }

  private resize(capacity: number): void {
    const ring: (T | undefined)[] = new Array(capacity).fill(undefined);
    for (let i = 0; i < this.length; i++) {
      ring[i] = this.ring[(this.head + i) & (this.ring.length - 1)];
    }
    this.ring = ring;
    this.head = 0;
  }
}

/** A binary heap of values with a numeric `position`, lowest first. */
export class Heap<T extends { readonly position: number }> {
  private items: T[] = [];

  get length(): number {
    return this.items.length;
  }

  peek(): T | undefined {
    return this.items[0];
  }

  push(value: T): void {
    const { items } = this;
    let i = items.length;
    items.push(value);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (items[parent]!.position <= value.position) break;
      items[i] = items[parent]!;
      i = parent;
    }
    items[i] = value;
  }

  pop(): T | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]!.position < items[child]!.position) child++;
      if (items[child]!.position >= last.position) break;
      items[i] = items[child]!;
      i = child;
    }
    items[i] = last;
    return top;
  }

  /** Remove and return all values, lowest first. */
  drain(): T[] {
    const values = this.items.sort((a, b) => a.position - b.position);
    this.items = [];
    return values;
  }
}
