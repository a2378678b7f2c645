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
  /** Nothing is read from the client, a publisher, until memory is there again. */
  blocked: boolean;
}

/** Watches one connection. Times are epoch milliseconds. */
export class Liveness {
  private lastReceived: number;
  private lastBeat: number;
  private sentBefore = 0;

  constructor(now: number) {
    this.lastReceived = this.lastBeat = now;
  }

  /** Something came from the client, or it is read from again. */
  received(now: number): void {
    this.lastReceived = now;
  }

  /** @param interval Seconds between heartbeats, as negotiated; 0 for none. */
  due(now: number, interval: number, { sent, unsent, backedUp, blocked }: Traffic): Due {
    if (interval === 0) return "nothing";
    // Nothing is read from a client that is backed up; it is alive as long as it takes what we send.
    if (backedUp && sent !== this.sentBefore) this.lastReceived = now;
    this.sentBefore = sent;
    // Spec 4.2.7: two intervals of silence.
    if (!blocked && now - this.lastReceived > interval * 2000) return "hang up";
    // At half the interval, as RabbitMQ does: a heartbeat that comes late does no harm then.
    if (unsent > 0 || now - this.lastBeat < interval * 500) return "nothing";
    this.lastBeat = now;
    return "heartbeat";
  }
}
