/**
 * A channel: what its client has in hand, and what was promised to it.
 * @module
 */
import type { Broker } from "../broker/broker.ts";
import type { VirtualHost } from "../broker/vhost.ts";
import type { Content } from "../message/content.ts";
import { writeDeliver } from "../message/delivery.ts";
import type { Message } from "../message/message.ts";
import { writeMethod } from "../protocol/codec.ts";
import type { Field, Table } from "../protocol/fields.ts";
import type { Output } from "../protocol/output.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Args, MethodName } from "../protocol/spec.ts";
import type { Consumer, Entry, Owner, Queue } from "../queue/queue.ts";
import type { Confirms } from "./confirms.ts";
import { DeliveryTags } from "./delivery_tags.ts";

/** Bytes that may wait for a client above which direct replies to it are dropped. */
const mostReplies = 64 * 1024 * 1024;

/** What a channel needs of its connection. */
export interface ChannelConnection extends Owner {
  readonly output: Output;
  /** Largest frame that may be sent, in bytes. */
  readonly frameMax: number;
  /** Who logged in. */
  readonly user: string;
  /** Whether more may be written, or enough waits to be sent. */
  readonly writable: boolean;
  /** `class * 65536 + method` of the method under way, as a close names it. */
  current: number;
  /** Whether the client announced a capability. */
  can(capability: string): boolean;
  /** Something was written: send it at the end of the turn. */
  touched(): void;
  /** Write a delivery, which is sent at the end of the turn. */
  deliver(write: () => void): void;
  /** Is told of each queue with consumers that is published to. */
  readonly pace: { published(queue: Queue): void };
  /** Call the channel's `sendConfirms()` at the end of the turn. */
  awaitConfirms(channel: Channel): void;
  /** Memory or the disk is short: read no more from this publisher. */
  block(): void;
  closeChannel(channel: Channel): void;
}

/** A delivery that waits for its acknowledgement; `consumer` is undefined for basic.get. */
export interface Unacked {
  readonly tag: number;
  readonly entry: Entry;
  readonly consumer: ChannelConsumer | undefined;
  /** When it was delivered, in epoch milliseconds. */
  readonly since: number;
}

/** What becomes of deliveries: acknowledged, given back by the client, dead-lettered, or put back since their channel is gone. */
export type Settlement = "ack" | "requeue" | "discard" | "return";

/** What tx.commit is to do (RabbitMQ "Transactions": publishes and acknowledgements). */
export interface Transaction {
  publishes: { message: Message; queues: readonly Queue[]; mandatory: boolean }[];
  settlements: { action: Settlement; unacked: Unacked[] }[];
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
    if (channel.limit > 0 && channel.delivered >= channel.limit) return false;
    return this.noAck || this.prefetch === 0 || this.unacked < this.prefetch;
  }

  deliver(entry: Entry): void {
    const { channel, noAck } = this;
    channel.lastServed = this.queue;
    const tag = channel.nextTag(noAck ? undefined : entry, this);
    channel.write(this.tag, tag, entry.redelivered, outgoing(entry));
    if (noAck) this.queue.settle(entry);
  }

  cancelled(): void {
    this.channel.consumerCancelled(this);
  }
}

/** The message as it is delivered: a quorum queue tells how often it came back (RabbitMQ "Poison Message Handling"). */
export function outgoing({ message, queue, returns }: Entry): Message {
  if (returns === 0 || queue.settings.type !== "quorum") return message;
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
  /** The queue whose message was delivered last. */
  lastServed: Queue | undefined;
  tx: Transaction | undefined;
  /** Set by confirm.select. */
  confirms: Confirms | undefined;
  /** Direct reply-to: the consumer's tag and the address that replies go to. */
  reply: { tag: string; address: string } | undefined;
  private droppedReplies = false;
  private readonly unacked = new DeliveryTags<Unacked>();

  constructor(
    readonly broker: Broker,
    readonly connection: ChannelConnection,
    readonly vhost: VirtualHost,
    readonly id: number,
  ) {}

  /** Send a method on this channel. */
  send<N extends MethodName>(name: N, args: Args<N>): void {
    writeMethod(this.connection.output, this.id, name, args);
    this.connection.touched();
  }

  /** Send basic.deliver. */
  write(consumerTag: string, tag: number, redelivered: boolean, message: Message): void {
    const { output, frameMax } = this.connection;
    this.connection.deliver(() =>
      writeDeliver(output, this.id, consumerTag, tag, redelivered, message, frameMax)
    );
  }

  /** Why to close it, if its client keeps a delivery for too long (RabbitMQ "Delivery Acknowledgement Timeout"). */
  overdue(now: number): ProtocolError | undefined {
    const { consumerTimeout } = this.broker.limits;
    const oldest = this.unacked.oldest;
    if (this.state !== "open" || !oldest || now - oldest.since <= consumerTimeout) return undefined;
    return new ProtocolError(
      "PRECONDITION_FAILED",
      `delivery acknowledgement on channel ${this.id} timed out. Timeout value used: ${consumerTimeout} ms. ` +
        "This timeout value can be configured, see consumers doc guide to learn more",
    );
  }

  /** The next delivery tag; with an entry, its delivery is unacknowledged from now on. */
  nextTag(entry: Entry | undefined, consumer: ChannelConsumer | undefined): number {
    const { unacked } = this;
    const tag = unacked.next();
    unacked.push(entry && { tag, entry, consumer, since: this.broker.now() });
    if (entry) this.count(consumer, 1);
    return tag;
  }

  private count(consumer: ChannelConsumer | undefined, change: 1 | -1): void {
    if (!consumer) return;
    consumer.unacked += change;
    this.delivered += change;
  }

  /**
   * Take deliveries out of what is unacknowledged.
   * @param tag The delivery tag; 0 with `multiple` means all.
   * @throws ProtocolError 406 for a tag that is not unacknowledged
   */
  collect(tag: number, multiple: boolean): Unacked[] {
    const taken = this.unacked.take(tag, multiple);
    for (const { consumer } of taken) this.count(consumer, -1);
    return taken;
  }

  /** Put back what tx.rollback gives back to the client. */
  restore(returned: Unacked[]): void {
    this.unacked.restore(returned);
    for (const { consumer } of returned) this.count(consumer, 1);
  }

  /** Acknowledge, requeue or dead-letter deliveries, and let the queues go on. */
  apply(action: Settlement, settled: Unacked[]): void {
    if (action === "requeue" || action === "return") requeue(settled, action === "requeue");
    else {
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

  /** Let all queues of this channel's consumers deliver, each in its turn, since they share the channel's limit. */
  drain(): void {
    const queues = [...new Set([...this.consumers.values()].map(({ queue }) => queue))];
    const first = this.lastServed ? queues.indexOf(this.lastServed) + 1 : 0;
    for (let i = 0; i < queues.length; i++) queues[(first + i) % queues.length]!.drain();
  }

  /** The queue of a consumer is gone: the client is told after the current method, whose answer comes first. */
  consumerCancelled(consumer: ChannelConsumer): void {
    if (!this.consumers.delete(consumer.tag)) return;
    this.broker.afterwards(() => this.tellCancelled(consumer.tag));
  }

  /** Say so to a client that wants to know (RabbitMQ "Consumer Cancel Notification"). */
  private tellCancelled(consumerTag: string): void {
    if (this.state !== "open" || !this.connection.can("consumer_cancel_notify")) return;
    this.send("basic.cancel", { consumerTag, nowait: true });
  }

  /**
   * Deliver a direct reply. No queue keeps replies: those that the client does not take wait in its output, up to a limit, and
   * what is more is dropped.
   */
  deliverReply(message: Message): void {
    const { reply, connection, broker } = this;
    if (!reply) return;
    if (connection.output.unsent > mostReplies) {
      if (!this.droppedReplies) {
        broker.report("Direct replies are dropped: their client does not read");
      }
      this.droppedReplies = true;
      return;
    }
    this.write(reply.tag, this.nextTag(undefined, undefined), false, message);
  }

  /** Count a published message; what becomes of it is told at the end of the turn. */
  awaitConfirm(accepted: boolean): void {
    this.confirms!.add(accepted);
    this.connection.awaitConfirms(this);
  }

  /** Confirm everything published so far: what must be on disk is. */
  sendConfirms(): void {
    if (this.state === "open") this.confirms?.write(this.connection.output, this.id);
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
    const returned = [...settlements, ...this.unacked.takeAll()];
    this.state = "closing";
    this.delivered = 0;
    const queues = new Set(consumers.map(({ queue }) => queue));
    for (const consumer of consumers) consumer.queue.removeConsumer(consumer);
    this.apply("return", returned);
    for (const queue of queues) queue.drain();
  }
}

/**
 * Put deliveries back to their queues.
 * @param refused What the client gives back is put back for each consumer by itself, as RabbitMQ does, so that the first is
 * delivered again before the second is there; what a channel leaves behind, all at once.
 */
function requeue(deliveries: Unacked[], refused: boolean): void {
  const grouped = new Map<string, Unacked[]>();
  for (const delivery of deliveries) {
    const { entry: { queue }, consumer } = delivery;
    const key = `${queue.name}\0${queue.id}\0${refused && consumer?.tag || ""}`;
    const group = grouped.get(key);
    if (group) group.push(delivery);
    else grouped.set(key, [delivery]);
  }
  const keys = [...grouped.keys()];
  for (const key of refused ? keys.sort() : keys) {
    const group = grouped.get(key)!;
    group[0]!.entry.queue.requeue(group.map(({ entry }) => entry), refused);
  }
}
