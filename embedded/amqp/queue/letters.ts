/**
 * At-least-once dead-lettering: a dead message stays in its queue until the queues that it goes to have it
 * (RabbitMQ "Quorum Queues: At-Least-Once Dead Lettering").
 * @module
 */
import { Deque } from "./deque.ts";

/** Letters that nobody takes may be so many before those behind them wait, as RabbitMQ's worker has so many in hand. */
const inHand = 32;

/** Why a message is dead-lettered, as the x-death header names it. */
export type DeathReason = "expired" | "rejected" | "maxlen" | "delivery_limit";

/** A dead message on its way. */
export interface Letter<E> {
  /** Its place in the queue in which it died. */
  readonly entry: E;
  readonly reason: DeathReason;
  /** The queues that have it; others refused it. */
  readonly taken: Set<unknown>;
}

/** The dead letters of one queue, in the order in which they died. */
export class Letters<E extends { readonly message: { readonly bodySize: number } }> {
  /** Bytes of their bodies. */
  bytes = 0;
  /** Those that were tried, and not taken. */
  private tried: Letter<E>[] = [];
  private readonly fresh = new Deque<Letter<E>>();

  get length(): number {
    return this.tried.length + this.fresh.length;
  }

  add(entry: E, reason: DeathReason): void {
    this.fresh.push({ entry, reason, taken: new Set() });
    this.bytes += entry.message.bodySize;
  }

  /**
   * Send those that were not tried yet, up to a number that nobody takes.
   * @param send Returns whether all queues that it goes to have it now, which are one at least
   * @param again Send the others too
   * @returns what was sent
   */
  send(send: (letter: Letter<E>) => boolean, again: boolean): E[] {
    const sent: E[] = [];
    const attempt = (letter: Letter<E>) => {
      if (!send(letter)) return void this.tried.push(letter);
      this.bytes -= letter.entry.message.bodySize;
      sent.push(letter.entry);
    };
    if (again) this.tried.splice(0).forEach(attempt);
    while (this.fresh.length > 0 && this.tried.length < inHand) attempt(this.fresh.shift()!);
    return sent;
  }

  /** Remove all. */
  drain(): E[] {
    this.bytes = 0;
    return [...this.tried.splice(0), ...this.fresh.drain()].map(({ entry }) => entry);
  }
}
