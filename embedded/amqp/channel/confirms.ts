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

  /**
   * Confirm everything published so far, with few frames.
   * @param stored false when it could not be committed: all of it is nacked then
   */
  write(output: Output, channel: number, stored: boolean): void {
    let first = this.confirmed + 1;
    while (first <= this.published) {
      const ack = this.isAccepted(first, stored);
      let last = first;
      while (last < this.published && this.isAccepted(last + 1, stored) === ack) last++;
      writeConfirm(output, channel, last, last > first, ack);
      first = last + 1;
    }
    this.rejected.clear();
    this.confirmed = this.published;
  }

  private isAccepted(tag: number, stored: boolean): boolean {
    return stored && !this.rejected.has(tag);
  }
}
