/**
 * Publisher confirms of a channel (RabbitMQ "Publisher Confirms").
 * @module
 */
import { writeConfirm } from "../message/delivery.ts";
import type { Output } from "../protocol/output.ts";

/** What was published since confirm.select, and how much of it is confirmed. */
export class Confirms {
  private published = 0;
  private confirmed = 0;
  private readonly rejected = new Set<number>();

  /** Count a published message. @param accepted false when a queue refused it */
  add(accepted: boolean): void {
    const tag = ++this.published;
    if (!accepted) this.rejected.add(tag);
  }

  /** Confirm everything published so far, with few frames. */
  write(output: Output, channel: number): void {
    const { rejected, published } = this;
    let first = this.confirmed + 1;
    while (first <= published) {
      const ack = !rejected.has(first);
      let last = first;
      while (last < published && rejected.has(last + 1) !== ack) last++;
      writeConfirm(output, channel, last, last > first, ack);
      first = last + 1;
    }
    rejected.clear();
    this.confirmed = published;
  }
}
