/**
 * The delivery tags of a channel: which deliveries are unacknowledged (spec 1.8.3.13).
 * @module
 */
import { ProtocolError } from "../protocol/errors.ts";
import { Deque } from "../queue/deque.ts";

/** Unacknowledged deliveries by tag. Those of most clients are a short range of tags with few gaps. */
export class DeliveryTags<T extends { readonly tag: number }> {
  /** The first stands for `firstTag`; what is settled or needed no acknowledgement is undefined. */
  private window = new Deque<T | undefined>();
  private firstTag = 1;
  private lastTag = 0;

  /** The tag of the next delivery. A `push()` with it must follow. */
  next(): number {
    return this.lastTag + 1;
  }

  /** Count a delivery. @param delivery undefined when it needs no acknowledgement */
  push(delivery: T | undefined): void {
    const tag = ++this.lastTag;
    if (this.window.length > 0 || delivery) {
      if (this.window.length === 0) this.firstTag = tag;
      this.window.push(delivery);
    } else this.firstTag = tag + 1;
  }

  /** The one delivered longest ago, if any is unacknowledged. */
  get oldest(): T | undefined {
    return this.window.at(0);
  }

  /**
   * Take deliveries out.
   * @param tag The delivery tag; 0 with `multiple` means all.
   * @throws ProtocolError 406 for a tag that is not unacknowledged
   */
  take(tag: number, multiple: boolean): T[] {
    const { window } = this;
    if (tag === 0 && multiple) tag = this.lastTag;
    else if (tag < this.firstTag || !window.at(tag - this.firstTag)) {
      throw new ProtocolError("PRECONDITION_FAILED", `unknown delivery tag ${tag}`);
    }
    const taken: T[] = [];
    if (multiple) {
      while (window.length > 0 && this.firstTag <= tag) this.takeFirst(taken);
    } else {
      taken.push(window.at(tag - this.firstTag)!);
      window.set(tag - this.firstTag, undefined);
    }
    while (window.length > 0 && window.at(0) === undefined) this.takeFirst(taken);
    return taken;
  }

  private takeFirst(into: T[]): void {
    const first = this.window.shift();
    this.firstTag++;
    if (first) into.push(first);
  }

  /** Take all out. */
  takeAll(): T[] {
    return this.window.drain().filter((delivery) => delivery !== undefined);
  }

  /** Put deliveries back that were taken. */
  restore(returned: readonly T[]): void {
    const all = [...returned, ...this.takeAll()].sort((a, b) => a.tag - b.tag);
    if (all.length === 0) return;
    this.firstTag = all[0]!.tag;
    let tag = this.firstTag;
    for (const delivery of all) {
      for (; tag < delivery.tag; tag++) this.window.push(undefined);
      this.window.push(delivery);
      tag++;
    }
    for (; tag <= this.lastTag; tag++) this.window.push(undefined);
  }
}
