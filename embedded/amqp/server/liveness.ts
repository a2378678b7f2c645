/**
 * Whether the other end of a connection is alive, and when to tell it that we are (spec 4.2.7).
 * @module
 */

/** What is due: nothing, a heartbeat, or to hang up because the client is silent for too long. */
export type Due = "nothing" | "heartbeat" | "hang up";

/** What a connection looks like at a tick. */
export interface Traffic {
  /** Bytes sent since the connection began. */
  sent: number;
  /** Bytes written that the socket has not yet taken. */
  unsent: number;
  /** Nothing is read from the client until it has taken more of what waits for it. */
  backedUp: boolean;
  /** Nothing is read from the client, a publisher, until memory or disk is there again. */
  blocked: boolean;
}

/** Longest time between two ticks, in milliseconds, that counts: when this process itself slept, no client was silent. */
const longestTick = 2000;

/** Milliseconds by which a tick may come too early. */
const tickError = 100;

/** Watches one connection, by ticks. */
export class Liveness {
  /** Milliseconds since anything came. */
  private silent = 0;
  private sinceBeat = 0;
  private sentBefore = 0;

  /** @param last When it begins, in epoch milliseconds */
  constructor(private last: number) {}

  /** Something came from the client, or it is read from again. */
  received(): void {
    this.silent = 0;
  }

  /**
   * @param now Epoch milliseconds
   * @param interval Seconds between heartbeats, as negotiated; 0 for none
   */
  due(now: number, interval: number, { sent, unsent, backedUp, blocked }: Traffic): Due {
    const elapsed = Math.min(now - this.last, longestTick);
    this.last = now;
    this.silent += elapsed;
    this.sinceBeat += elapsed;
    if (interval === 0) return "nothing";
    // Nothing is read from a client that is backed up; it is alive as long as it takes what we send.
    if (backedUp && sent !== this.sentBefore) this.silent = 0;
    this.sentBefore = sent;
    // Spec 4.2.7: two intervals of silence.
    if (!blocked && this.silent > interval * 2000) return "hang up";
    // At half the interval, as RabbitMQ does: a heartbeat that comes late does no harm then. A tick may be a little early.
    if (unsent > 0 || this.sinceBeat < interval * 500 - tickError) return "nothing";
    this.sinceBeat = 0;
    return "heartbeat";
  }
}
