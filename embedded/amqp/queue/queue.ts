/**
 * A queue: its messages in order, and their delivery to consumers.
 * @module
 */
import type { Table } from "../protocol/fields.ts";
import type { Message } from "../message/message.ts";
import { Consumers, type Waiting } from "./consumers.ts";
import { type DeathReason, type Letter, Letters } from "./letters.ts";
import { QuorumReady } from "./quorum_ready.ts";
import { ClassicReady, type Ready } from "./ready.ts";
import type { QueueSettings } from "./settings.ts";

/** A message's place in one queue. */
export interface Entry {
  readonly message: Message;
  readonly queue: Queue;
  /** Grows with every publish in the whole broker: the order in the queue, and the row in the store. */
  readonly position: number;
  /** When it expires, in epoch milliseconds; 0 for never. */
  readonly expires: number;
  redelivered: boolean;
  /** How often it came back undone (quorum queues). */
  returns: number;
  /** Why it died, of one that waits to be dead-lettered at least once. */
  death: DeathReason | undefined;
  /** 0 not to be stored, 1 to be stored at the next commit, 2 stored. */
  stored: 0 | 1 | 2;
}

/** A consumer as its queue sees it. */
export interface Consumer extends Waiting {
  readonly tag: string;
  deliver(entry: Entry): void;
  /** Tell the client that the queue is gone; the channel forgets the consumer. */
  cancelled(): void;
}

/** The connection that has an exclusive queue for itself. */
export interface Owner {
  /** Its exclusive queues, which go with it. */
  readonly exclusive: Set<Queue>;
}

/** What a queue needs of the broker. */
export interface QueueHost {
  /** Epoch milliseconds. */
  now(): number;
  nextPosition(): number;
  /** Persist an entry with the next commit. */
  store(entry: Entry): void;
  /** Forget a persisted entry with the next commit. */
  unstore(entry: Entry): void;
  /** Persist how often an entry came back, and why it died, with the next commit. */
  storeFate(entry: Entry): void;
  /** The queue holds, or no longer holds, the message. */
  hold(message: Message): void;
  release(message: Message): void;
  /** Publish to the dead-letter exchange, after the current method. */
  deadLetter(queue: Queue, message: Message, reason: DeathReason): void;
  /** Have the queue's letters sent, after the current method. */
  sendLetters(queue: Queue): void;
  /** Delete the queue (auto-delete, expiry). */
  removeQueue(queue: Queue): void;
}

/** A queue. Every operation on one message takes constant time, or log n for one that comes back. */
export class Queue {
  readonly kind = "queue";
  readonly consumers: Consumers<Consumer>;
  deleted = false;
  /** Messages delivered to consumers so far. */
  deliveries = 0;
  /** Highest position ever delivered: up to it, a message restored after a crash counts as redelivered. */
  delivered = 0;
  /** `delivered` as the store knows it. */
  deliveredStored = 0;
  private readonly ready: Ready<Entry>;
  private readonly letters = new Letters<Entry>();
  /** A quorum queue that was full, and is not yet empty enough to take more. */
  private rejecting = false;
  private draining = false;
  private expiryTimer: ReturnType<typeof setTimeout> | undefined;
  private expiryAt = Infinity;
  private disuseTimer: ReturnType<typeof setTimeout> | undefined;
  private lastUse = 0;

  /**
   * @param id Its row in the store; also where it is only in memory.
   * @param owner The connection of an exclusive queue.
   */
  constructor(
    private readonly host: QueueHost,
    readonly id: number,
    readonly vhost: string,
    readonly name: string,
    readonly durable: boolean,
    readonly autoDelete: boolean,
    readonly owner: Owner | undefined,
    readonly args: Table,
    readonly settings: QueueSettings,
  ) {
    this.ready = settings.type === "quorum"
      ? new QuorumReady()
      : new ClassicReady(settings.maxPriority);
    this.consumers = new Consumers(settings);
    owner?.exclusive.add(this);
    this.touch();
  }

  /** How many messages are ready. */
  get length(): number {
    return this.ready.length;
  }

  /** Bytes of the bodies of the messages that are ready. */
  get bytes(): number {
    return this.ready.bytes;
  }

  /** As error texts name it. */
  get label(): string {
    return `queue '${this.name}' in vhost '${this.vhost}'`;
  }

  /**
   * Take a message in, or pass it straight to a waiting consumer.
   * @returns false when the queue is full and rejects what is published.
   */
  publish(message: Message): boolean {
    const { settings, host } = this;
    if (settings.overflow !== "drop-head" && this.rejects(message)) {
      if (settings.overflow === "reject-publish-dlx") host.deadLetter(this, message, "maxlen");
      return false;
    }
    const ttl = this.ttlOf(message);
    const entry: Entry = {
      message,
      queue: this,
      position: host.nextPosition(),
      expires: ttl < 0 ? 0 : host.now() + ttl,
      redelivered: false,
      returns: 0,
      death: undefined,
      stored: 0,
    };
    host.hold(message);
    if (this.stores(message)) host.store(entry);
    if (this.length === 0 && !this.draining) {
      // Even a message with a TTL of 0 reaches a consumer that is ready for it.
      const consumer = this.consumers.next();
      if (consumer) {
        this.ready.passBy();
        this.hand(entry, consumer);
        return true;
      }
    }
    this.ready.push(entry);
    if (settings.maxLength >= 0 || settings.maxBytes >= 0) this.dropOverflow();
    if (ttl >= 0) this.watchExpiry();
    return true;
  }

  /** Whether a message survives a restart in this queue: in a quorum queue, any does. */
  stores(message: Message): boolean {
    return this.durable && (message.persistent || this.settings.type === "quorum");
  }

  /** Milliseconds that a message may wait, -1 for any time: the shorter of the queue's and its own. */
  private ttlOf(message: Message): number {
    const { ttl } = this.settings;
    if (ttl < 0) return message.ttl;
    return message.ttl < 0 ? ttl : Math.min(ttl, message.ttl);
  }

  /** Take in an entry that was stored. They come in order. */
  restore(entry: Entry): void {
    if (entry.death !== undefined) this.letters.add(entry, entry.death);
    else if (entry.redelivered && this.settings.type === "quorum") this.ready.putBack(entry);
    else this.ready.push(entry);
  }

  /** All that was stored is back: let time go on. */
  restored(): void {
    if (this.letters.length > 0) this.host.sendLetters(this);
    this.dropExpired();
    this.watchExpiry();
  }

  /**
   * Whether there is no room for a message. A quorum queue rejects once it has more than its limit, letters included, and then
   * until it is down to 80 % of it (RabbitMQ 4.0, `rabbit_fifo`).
   */
  private rejects(message: Message): boolean {
    const { maxLength, maxBytes, type } = this.settings;
    if (type === "classic") {
      return (maxLength >= 0 && this.length >= maxLength) ||
        (maxBytes >= 0 && this.bytes + message.bodySize > maxBytes);
    }
    const share = this.rejecting ? 0.8 : 1;
    const isOver = (limit: number, size: number) => limit >= 0 && size > Math.floor(limit * share);
    this.rejecting = isOver(maxLength, this.length + this.letters.length) ||
      isOver(maxBytes, this.bytes + this.letters.bytes);
    return this.rejecting;
  }

  private dropOverflow(): void {
    const { maxLength, maxBytes, overflow } = this.settings;
    if (overflow !== "drop-head") return;
    while (
      this.length > 0 &&
      ((maxLength >= 0 && this.length > maxLength) || (maxBytes >= 0 && this.bytes > maxBytes))
    ) this.discard(this.ready.shift()!, "maxlen");
  }

  /** Dead-letter what has expired at the head; messages behind one that has not expired wait for it. */
  dropExpired(): void {
    if (this.length === 0) return;
    let now = 0;
    for (;;) {
      const head = this.ready.peek();
      if (!head || head.expires === 0) return;
      if (head.expires > (now ||= this.host.now())) return this.watchExpiry();
      this.discard(this.ready.shift()!, "expired");
    }
  }

  private watchExpiry(): void {
    const head = this.ready.peek();
    if (!head || head.expires === 0 || head.expires >= this.expiryAt) return;
    clearTimeout(this.expiryTimer);
    this.expiryAt = head.expires;
    // setTimeout cannot wait longer than 2^31 ms; it then fires early and is set again.
    const wait = Math.min(Math.max(0, head.expires - this.host.now()), 0x7fffffff);
    this.expiryTimer = setTimeout(() => {
      this.expiryAt = Infinity;
      this.drain();
      this.dropExpired();
      this.watchExpiry();
    }, wait);
  }

  /** Remove an entry that nobody is to get, dead-lettering it when the queue says so. */
  discard(entry: Entry, reason: DeathReason): void {
    if (this.settings.atLeastOnce && !this.deleted) return this.keepLetter(entry, reason);
    if (this.settings.deadLetterExchange !== undefined && !this.deleted) {
      this.host.deadLetter(this, entry.message, reason);
    }
    this.settle(entry);
  }

  private keepLetter(entry: Entry, reason: DeathReason): void {
    entry.death = reason;
    if (entry.stored !== 0) this.host.storeFate(entry);
    this.letters.add(entry, reason);
    this.host.sendLetters(this);
  }

  /**
   * Send letters, as `Letters.send()` does; what was sent is settled.
   * @returns whether some are left
   */
  sendLetters(send: (letter: Letter<Entry>) => boolean, again: boolean): boolean {
    for (const entry of this.letters.send(send, again)) this.settle(entry);
    return this.letters.length > 0;
  }

  /** An entry is done with: acknowledged, dropped, or delivered without acknowledgement. */
  settle(entry: Entry): void {
    if (entry.stored !== 0) this.host.unstore(entry);
    this.host.release(entry.message);
  }

  /** The next message for basic.get, or undefined. */
  get(): Entry | undefined {
    this.touch();
    this.dropExpired();
    const entry = this.ready.shift();
    if (entry) this.mark(entry);
    return entry;
  }

  private mark(entry: Entry): void {
    if (entry.position > this.delivered) this.delivered = entry.position;
  }

  /**
   * Put entries back, and deliver what can be delivered.
   * @param refused The client gave them back, rather than went away with them: a quorum queue without a delivery limit then
   * puts them at its end, so that its log can be cut (RabbitMQ 4.0 "Quorum Queues: Repeated Requeues")
   */
  requeue(entries: Iterable<Entry>, refused: boolean): void {
    const { deliveryLimit, type } = this.settings;
    for (const entry of entries) {
      if (this.deleted) {
        this.settle(entry);
        continue;
      }
      entry.redelivered = true;
      if (type === "quorum") {
        entry.returns++;
        if (deliveryLimit >= 0 && entry.returns > deliveryLimit) {
          this.discard(entry, "delivery_limit");
          continue;
        }
        if (entry.stored !== 0) this.host.storeFate(entry);
      }
      if (refused && type === "quorum" && deliveryLimit < 0) this.ready.push(entry);
      else this.ready.putBack(entry);
    }
    if (this.deleted) return;
    // What is too much in a classic queue is dropped before consumers could have it.
    if (type === "classic") this.dropOverflow();
    this.drain();
    this.dropOverflow();
    this.watchExpiry();
  }

  /** Deliver while there are messages and consumers with room. */
  drain(): void {
    if (this.draining || this.length === 0 || this.consumers.length === 0) return;
    this.draining = true;
    try {
      while (this.length > 0) {
        const consumer = this.consumers.next();
        if (!consumer) break;
        this.dropExpired();
        const entry = this.ready.shift();
        if (!entry) break;
        this.hand(entry, consumer);
      }
    } finally {
      this.draining = false;
    }
  }

  private hand(entry: Entry, consumer: Consumer): void {
    this.mark(entry);
    this.deliveries++;
    consumer.deliver(entry);
  }

  /** Add a consumer. The caller drains, once the client knows of it. */
  addConsumer(consumer: Consumer): void {
    this.consumers.add(consumer);
    this.touch();
  }

  /** Remove a consumer; an auto-delete queue goes with its last one. */
  removeConsumer(consumer: Consumer): void {
    if (!this.consumers.remove(consumer)) return;
    this.touch();
    if (this.consumers.length === 0 && this.autoDelete) this.host.removeQueue(this);
    else this.drain();
  }

  /** Remove all ready messages. @returns how many there were. */
  purge(): number {
    this.dropExpired();
    const count = this.length;
    for (const entry of this.ready.drain()) this.settle(entry);
    return count;
  }

  /** The queue was removed from its virtual host: cancel consumers, drop messages. */
  close(): number {
    clearTimeout(this.expiryTimer);
    clearTimeout(this.disuseTimer);
    const count = this.purge();
    this.deleted = true;
    this.owner?.exclusive.delete(this);
    for (const entry of this.letters.drain()) this.settle(entry);
    for (const consumer of this.consumers.clear()) consumer.cancelled();
    return count;
  }

  /** Stop the timers, when the broker stops. */
  stop(): void {
    clearTimeout(this.expiryTimer);
    clearTimeout(this.disuseTimer);
  }

  /** The queue is in use: x-expires counts from now (RabbitMQ "Queue TTL"). */
  touch(): void {
    if (this.settings.expires < 0) return;
    this.lastUse = this.host.now();
    if (this.disuseTimer === undefined) this.watchDisuse(this.settings.expires);
  }

  private watchDisuse(wait: number): void {
    this.disuseTimer = setTimeout(() => {
      const left = this.consumers.length > 0
        ? this.settings.expires
        : this.lastUse + this.settings.expires - this.host.now();
      if (left <= 0) this.host.removeQueue(this);
      else this.watchDisuse(left);
    }, Math.min(wait, 0x7fffffff));
  }
}
