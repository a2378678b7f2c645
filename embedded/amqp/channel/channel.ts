/**
 * A channel: what its client has in hand, and what was promised to it.
 * @module
 */
import type { Broker } from "../broker/broker.ts";
import { writeMethod } from "../protocol/codec.ts";
import type { Connection } from "../server/connection.ts";
import type { Content } from "../message/content.ts";
import { writeConfirm, writeDeliver } from "../message/delivery.ts";
import { Deque } from "../queue/deque.ts";
import type { Field, Table } from "../protocol/fields.ts";
import type { Message } from "../message/message.ts";
import type { Consumer, Entry, Queue } from "../queue/queue.ts";
import { type Args, type MethodName, ProtocolError } from "../protocol/spec.ts";
import type { VirtualHost } from "../broker/vhost.ts";

/** A delivery that waits for its acknowledgement; `consumer` is undefined for basic.get. */
export interface Unacked {
  readonly tag: number;
  readonly entry: Entry;
  readonly consumer: ChannelConsumer | undefined;
  /** When it was delivered, in epoch milliseconds. */
  readonly since: number;
}

/** What tx.commit is to do (RabbitMQ "Transactions": publishes and acknowledgements). */
export interface Transaction {
  publishes: { message: Message; queues: readonly Queue[]; mandatory: boolean }[];
  settlements: { action: "ack" | "requeue" | "discard"; unacked: Unacked[] }[];
}

/** A consumer of a channel. */
export class ChannelConsumer implements Consumer {
  unacked = 0;

  constructor(
    readonly channel: Channel,
    readonly queue: Queue,
    readonly tag: string,
    readonly noAck: boolean,
    readonly exclusive: boolean,
    readonly priority: number,
    /** Unacknowledged deliveries it may have, 0 for any number. */
    readonly prefetch: number,
  ) {}

  canTake(): boolean {
    const { channel } = this;
    if (!channel.connection.writable) return false;
    if (this.noAck) return true;
    if (this.prefetch > 0 && this.unacked >= this.prefetch) return false;
    return channel.limit === 0 || channel.delivered < channel.limit;
  }

  deliver(entry: Entry): void {
    const { channel, queue } = this;
    const { connection } = channel;
    const tag = channel.nextTag(this.noAck ? undefined : entry, this);
    writeDeliver(
      connection.output,
      channel.id,
      this.tag,
      tag,
      entry.redelivered,
      outgoing(entry),
      connection.frameMax,
    );
    connection.touched();
    if (this.noAck) queue.settle(entry);
  }

  cancelled(): void {
    this.channel.consumerCancelled(this);
  }
}

/**
 * The message as it is delivered: a quorum queue tells how often it came back (RabbitMQ "Poison Message Handling").
 * @param always Tell it of the first delivery too, as basic.get does.
 */
export function outgoing({ message, queue, returns }: Entry, always = false): Message {
  if ((returns === 0 && !always) || queue.settings.type !== "quorum") return message;
  const properties = message.properties();
  const headers: Table = new Map(properties.headers ?? []);
  headers.set("x-delivery-count", { t: "l", v: returns } as Field);
  return message.derive(message.exchange, [message.routingKey], { ...properties, headers });
}

/** A channel of a connection (spec 1.5). */
export class Channel {
  /** `closing`: the broker closed it and waits for close-ok; all else is ignored. */
  state: "open" | "closing" = "open";
  /** The message whose frames are coming in. */
  content: Content | undefined;
  readonly consumers = new Map<string, ChannelConsumer>();
  /** The queue that an empty queue name means (spec 1.7.2.1). */
  lastQueue = "";
  /** Prefetch of consumers to come (basic.qos with global=false). */
  prefetch = 0;
  /** Unacknowledged deliveries that all consumers together may have (global=true), 0 for any number. */
  limit = 0;
  /** Unacknowledged deliveries to consumers. */
  delivered = 0;
  tx: Transaction | undefined;
  confirming = false;
  /** Messages published since confirm.select, and how many of them are confirmed. */
  published = 0;
  private confirmed = 0;
  private readonly rejected = new Set<number>();
  /** Direct reply-to: the consumer's tag and the address that replies go to. */
  reply: { tag: string; address: string } | undefined;
  /** Unacknowledged deliveries by tag: the first stands for `firstTag`, gaps are undefined. */
  private unacked = new Deque<Unacked | undefined>();
  private firstTag = 1;
  private lastTag = 0;

  constructor(
    readonly broker: Broker,
    readonly connection: Connection,
    readonly vhost: VirtualHost,
    readonly id: number,
  ) {}

  send<N extends MethodName>(name: N, args: Args<N>): void {
    writeMethod(this.connection.output, this.id, name, args);
    this.connection.touched();
  }

  /** When the oldest unacknowledged delivery was made, in epoch milliseconds; Infinity when there is none. */
  get oldest(): number {
    return this.unacked.at(0)?.since ?? Infinity;
  }

  /** The next delivery tag; with an entry, its delivery is unacknowledged from now on. */
  nextTag(entry: Entry | undefined, consumer: ChannelConsumer | undefined): number {
    const tag = ++this.lastTag;
    if (!entry) {
      if (this.unacked.length === 0) this.firstTag = tag + 1;
      else this.unacked.push(undefined);
      return tag;
    }
    if (this.unacked.length === 0) this.firstTag = tag;
    this.unacked.push({ tag, entry, consumer, since: this.broker.now() });
    if (consumer) {
      consumer.unacked++;
      this.delivered++;
    }
    return tag;
  }

  /**
   * Take deliveries out of what is unacknowledged.
   * @param tag The delivery tag; 0 with `multiple` means all.
   * @throws ProtocolError 406 for a tag that is not unacknowledged.
   */
  collect(tag: number, multiple: boolean): Unacked[] {
    const { unacked } = this;
    if (tag === 0 && multiple) tag = this.lastTag;
    else if (!unacked.at(tag - this.firstTag) || tag < this.firstTag) {
      throw new ProtocolError("PRECONDITION_FAILED", `unknown delivery tag ${tag}`);
    }
    const found: Unacked[] = [];
    if (multiple) {
      while (unacked.length > 0 && this.firstTag <= tag) this.takeFirst(found);
    } else {
      found.push(unacked.at(tag - this.firstTag)!);
      unacked.set(tag - this.firstTag, undefined);
    }
    while (unacked.length > 0 && unacked.at(0) === undefined) this.takeFirst(found);
    for (const { consumer } of found) {
      if (!consumer) continue;
      consumer.unacked--;
      this.delivered--;
    }
    return found;
  }

  private takeFirst(into: Unacked[]): void {
    const first = this.unacked.shift();
    this.firstTag++;
    if (first) into.push(first);
  }

  /** Put back what tx.rollback gives back to the client. */
  restore(returned: Unacked[]): void {
    const all = [...returned, ...this.unacked.drain().filter((u) => u !== undefined)]
      .sort((a, b) => a.tag - b.tag);
    if (all.length === 0) return;
    this.firstTag = all[0]!.tag;
    let tag = this.firstTag;
    for (const item of all) {
      for (; tag < item.tag; tag++) this.unacked.push(undefined);
      this.unacked.push(item);
      tag++;
    }
    for (; tag <= this.lastTag; tag++) this.unacked.push(undefined);
    for (const { consumer } of returned) {
      if (!consumer) continue;
      consumer.unacked++;
      this.delivered++;
    }
  }

  /** Acknowledge, requeue or dead-letter deliveries, and let the queues go on. */
  apply(action: "ack" | "requeue" | "discard", settled: Unacked[]): void {
    if (action === "requeue") {
      const byQueue = new Map<Queue, Entry[]>();
      for (const { entry } of settled) {
        const entries = byQueue.get(entry.queue);
        if (entries) entries.push(entry);
        else byQueue.set(entry.queue, [entry]);
      }
      for (const [queue, entries] of byQueue) queue.requeue(entries);
    } else {
      for (const { entry } of settled) {
        if (action === "ack") entry.queue.settle(entry);
        else entry.queue.discard(entry, "rejected");
      }
    }
    this.resume(settled);
  }

  /** Room was made: drain the queues that may wait for it. */
  private resume(settled: Unacked[]): void {
    if (this.limit > 0) return this.drain();
    let last: Queue | undefined;
    for (const { entry: { queue } } of settled) {
      if (queue !== last) queue.drain();
      last = queue;
    }
  }

  /** Let all queues of this channel's consumers deliver. */
  drain(): void {
    for (const { queue } of this.consumers.values()) queue.drain();
  }

  /** The queue of a consumer is gone. */
  consumerCancelled(consumer: ChannelConsumer): void {
    if (this.consumers.delete(consumer.tag)) this.broker.cancelLater(consumer);
  }

  /** Say so to a client that wants to know (RabbitMQ "Consumer Cancel Notification"). */
  tellCancelled(consumerTag: string): void {
    if (this.state !== "open" || !this.connection.can("consumer_cancel_notify")) return;
    this.send("basic.cancel", { consumerTag, nowait: true });
  }

  /** Count a published message; what becomes of it is told at the end of the turn. */
  awaitConfirm(accepted: boolean): void {
    const tag = ++this.published;
    if (!accepted) this.rejected.add(tag);
    this.connection.awaitConfirms(this);
  }

  /**
   * Confirm everything published so far, with few frames.
   * @param stored false when the commit failed: everything is nacked then.
   */
  sendConfirms(stored: boolean): void {
    if (this.state !== "open") return;
    const { output } = this.connection;
    if (!stored) {
      for (let tag = this.confirmed + 1; tag <= this.published; tag++) this.rejected.add(tag);
    }
    let first = this.confirmed + 1;
    while (first <= this.published) {
      const ack = !this.rejected.has(first);
      let last = first;
      while (last < this.published && this.rejected.has(last + 1) !== ack) last++;
      writeConfirm(output, this.id, last, last > first, ack);
      first = last + 1;
    }
    this.rejected.clear();
    this.confirmed = this.published;
  }

  /** Give everything back: consumers go first, so that nothing requeued comes to them. */
  release(): void {
    const consumers = [...this.consumers.values()];
    this.consumers.clear();
    if (this.reply) this.broker.replies.delete(this.reply.address);
    this.reply = undefined;
    this.content = undefined;
    const settlements = this.tx?.settlements.flatMap(({ unacked }) => unacked) ?? [];
    for (const { message } of this.tx?.publishes ?? []) this.broker.release(message);
    this.tx = undefined;
    const returned = [...settlements, ...this.unacked.drain().filter((u) => u !== undefined)];
    this.state = "closing";
    this.delivered = 0;
    const queues = new Set(consumers.map(({ queue }) => queue));
    for (const consumer of consumers) consumer.queue.removeConsumer(consumer);
    this.apply("requeue", returned);
    for (const queue of queues) queue.drain();
  }
}
