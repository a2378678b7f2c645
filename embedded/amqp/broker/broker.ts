/**
 * The broker: what its connections share, and the turn in which everything that happened is committed and sent.
 *
 * Frames are handled synchronously as they arrive; the rest of the turn runs in a microtask after it, once for all
 * connections that had something to say: commit, confirm, write.
 * @module
 */
import type { Channel, ChannelConsumer } from "../channel/channel.ts";
import type { Connection } from "../server/connection.ts";
import { deadMessage, isCycle } from "../queue/dead_letter.ts";
import { writeDeliver } from "../message/delivery.ts";
import { type Table, toTable } from "../protocol/fields.ts";
import type { Message } from "../message/message.ts";
import { restoreMessage } from "../message/message.ts";
import type { DeathReason, Entry, Queue } from "../queue/queue.ts";
import { adopt, type Store, type StoredEntry } from "../storage/store.ts";
import { VirtualHost, type VirtualHostHost } from "./vhost.ts";

/** Bytes that a message costs beyond its own, as measured with a million of them. */
const messageOverhead = 450;
/** What nobody waits for is committed after so many milliseconds, or when so many entries have collected. */
const lazyCommit = { delay: 10, entries: 4000 };

/** The RabbitMQ whose behaviour is meant. */
const rabbitVersion = "3.10.8";

/** What one broker puts up with. */
export interface Limits {
  /** Bytes of a body. */
  maxMessageSize: number;
  /** Connections at a time. */
  maxConnections: number;
  /** Bytes of messages in memory above which publishers are blocked. */
  memoryMark: number;
  /** Milliseconds for the handshake, and for a client to answer connection.close. */
  patience: number;
  /** Milliseconds that a consumer may keep a delivery without acknowledging it. */
  consumerTimeout: number;
}

interface DeadLetter {
  queue: Queue;
  message: Message;
  reason: DeathReason;
}

/** The state that connections share: virtual hosts, memory, what is to be committed and sent. */
export class Broker implements VirtualHostHost {
  readonly vhosts = new Map<string, VirtualHost>();
  readonly connections = new Set<Connection>();
  /** Direct reply-to: channels by address. */
  readonly replies = new Map<string, Channel>();
  readonly serverProperties: Table;
  /** Memory is short: publishers are blocked. */
  short = false;
  private memory = 0;
  private position = 0;
  private dead: DeadLetter[] = [];
  /** Consumers whose queue is gone, not yet told of it. */
  private cancelled: ChannelConsumer[] = [];
  private toFlush = new Set<Connection>();
  private turnPlanned = false;
  /** Someone waits for the commit: a publisher for his confirm. */
  private urgent = false;
  /** Nothing may be sent before the commit: an answer tells of what is to be durable. */
  private changing = false;
  private lazyTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param credentials User and password as binary strings.
   * @param store Where durable things go; undefined keeps all in memory.
   */
  constructor(
    readonly limits: Limits,
    private readonly credentials: readonly [user: string, password: string],
    vhosts: readonly string[],
    private readonly store_: Store | undefined,
    private readonly log: (text: string) => void,
  ) {
    this.serverProperties = toTable({
      capabilities: {
        "publisher_confirms": true,
        "exchange_exchange_bindings": true,
        "basic.nack": true,
        "consumer_cancel_notify": true,
        "connection.blocked": true,
        "consumer_priorities": true,
        "authentication_failure_close": true,
        "per_consumer_qos": true,
        "direct_reply_to": true,
      },
      "cluster_name": "event-sink@localhost",
      copyright: "Copyright (c) the event-sink contributors",
      information: "event-sink embedded broker, for one machine; not RabbitMQ. Licensed under MIT",
      platform: `event-sink on Deno ${Deno.version.deno}`,
      product: "RabbitMQ",
      version: rabbitVersion,
    });
    for (const name of vhosts) this.vhosts.set(name, new VirtualHost(name, this));
    if (store_) this.restore(store_);
  }

  get entities(): Store | undefined {
    return this.store_;
  }

  now(): number {
    return Date.now();
  }

  nextPosition(): number {
    return ++this.position;
  }

  /** A name such as `amq.gen-...` that nobody can guess. */
  makeName(prefix: string): string {
    const random = crypto.getRandomValues(new Uint8Array(16));
    const text = btoa(String.fromCharCode(...random)).replace("==", "")
      .replaceAll("+", "-").replaceAll("/", "_");
    return prefix === "amq.rabbitmq.reply-to" ? `${prefix}.${text}` : `${prefix}-${text}`;
  }

  authenticate(user: string, password: string): boolean {
    return user === this.credentials[0] && password === this.credentials[1];
  }

  /** An unexpected error: the process lives on. */
  report(error: unknown): void {
    this.log(error instanceof Error ? error.stack ?? error.message : String(error));
  }

  // ---- messages

  hold(message: Message): void {
    if (message.holders++ > 0) return;
    this.memory += message.size + messageOverhead;
    if (!this.short && this.memory > this.limits.memoryMark) this.short = true;
  }

  release(message: Message): void {
    if (--message.holders > 0) return;
    this.memory -= message.size + messageOverhead;
    if (this.short && this.memory <= this.limits.memoryMark) this.relieve();
  }

  private relieve(): void {
    this.short = false;
    for (const connection of this.connections) connection.unblock();
  }

  store(entry: Entry): void {
    if (!this.store_) return;
    this.store_.add(entry);
    this.planTurn();
  }

  unstore(entry: Entry): void {
    this.store_!.remove(entry);
    this.planTurn();
  }

  deadLetter(queue: Queue, message: Message, reason: DeathReason): void {
    this.hold(message);
    this.dead.push({ queue, message, reason });
    this.planTurn();
  }

  /** Tell a consumer that its queue is gone, after the current method: the answer to queue.delete comes first. */
  cancelLater(consumer: ChannelConsumer): void {
    this.cancelled.push(consumer);
    this.planTurn();
  }

  /** What follows from a method; called after each, not within it. */
  afterMethod(): void {
    if (this.cancelled.length > 0) {
      for (const consumer of this.cancelled.splice(0)) consumer.channel.tellCancelled(consumer.tag);
    }
    if (this.dead.length > 0) this.settleDead();
  }

  /** Publish what has died, and what dies of that. */
  private settleDead(): void {
    for (let i = 0; i < this.dead.length; i++) {
      const { queue, message, reason } = this.dead[i]!;
      const vhost = this.vhosts.get(queue.vhost)!;
      const exchange = vhost.exchanges.get(queue.settings.deadLetterExchange!);
      if (exchange) {
        const dead = deadMessage(message, queue, exchange.name, reason, this.now());
        for (const target of vhost.route(exchange, [dead.routingKey, ...dead.copies], dead)) {
          if (reason === "rejected" || !isCycle(dead, target)) target.publish(dead);
        }
      }
      this.release(message);
    }
    this.dead = [];
  }

  /** Deliver a direct reply, if its requester is still there. */
  reply(address: string, message: Message): void {
    const channel = this.replies.get(address);
    if (!channel?.reply || !channel.connection.writable) return;
    const { connection, reply } = channel;
    const tag = channel.nextTag(undefined, undefined);
    writeDeliver(
      connection.output,
      channel.id,
      reply.tag,
      tag,
      false,
      message,
      connection.frameMax,
    );
    connection.touched();
  }

  removeQueue(queue: Queue): void {
    this.vhosts.get(queue.vhost)!.removeQueue(queue);
  }

  // ---- turns

  changed(): void {
    this.changing = true;
    this.planTurn();
  }

  /** Commit at the end of the turn: a confirm waits for it. */
  commitSoon(): void {
    this.urgent = true;
  }

  flushLater(connection: Connection): void {
    this.toFlush.add(connection);
    this.planTurn();
  }

  private planTurn(): void {
    if (this.turnPlanned) return;
    this.turnPlanned = true;
    queueMicrotask(() => this.turn());
  }

  private turn(): void {
    this.turnPlanned = false;
    this.afterMethod();
    const connections = this.toFlush;
    this.toFlush = new Set();
    // Deliveries need not wait for the disk, only confirms and what tells of changes do.
    if (!this.changing) { for (const connection of connections) connection.output.flush(); }
    const stored = this.commitIfDue();
    for (const connection of connections) connection.finishTurn(stored);
  }

  private commitIfDue(): boolean {
    const { store_ } = this;
    if (!store_?.dirty) {
      this.urgent = this.changing = false;
      return true;
    }
    if (this.urgent || this.changing || store_.backlog > lazyCommit.entries) return this.commit();
    this.lazyTimer ??= setTimeout(() => this.commit(), lazyCommit.delay);
    return true;
  }

  private commit(): boolean {
    clearTimeout(this.lazyTimer);
    this.lazyTimer = undefined;
    this.urgent = this.changing = false;
    try {
      this.store_?.commit();
      return true;
    } catch (error) {
      this.report(error);
      return false;
    }
  }

  /** Commit at once, in the middle of a turn. */
  commitNow(then: (stored: boolean) => void): void {
    then(this.commit());
  }

  // ---- connections

  forget(connection: Connection): void {
    this.connections.delete(connection);
    this.afterMethod();
  }

  /** Called every second. */
  tick(): void {
    const now = this.now();
    for (const connection of this.connections) connection.tick(now);
  }

  /** Stop: connections are told, everything is committed, the file is closed. */
  stop(): void {
    for (const connection of this.connections) {
      connection.shutDown("broker forced connection closure with reason 'shutdown'");
    }
    this.turn();
    for (const connection of [...this.connections]) connection.end();
    this.turn();
    clearTimeout(this.lazyTimer);
    for (const vhost of this.vhosts.values()) {
      for (const queue of vhost.queues.values()) queue.stop();
    }
    this.store_?.close();
  }

  // ---- restart

  private restore(store: Store): void {
    const queues = new Map<number, Queue>();
    for (const entity of store.loadEntities()) {
      const name = entity.name.slice(0, entity.name.indexOf("\0"));
      let vhost = this.vhosts.get(name);
      if (!vhost) this.vhosts.set(name, vhost = new VirtualHost(name, this));
      vhost.restore(entity);
    }
    for (const vhost of this.vhosts.values()) {
      for (const queue of vhost.queues.values()) {
        queues.set(queue.id, queue);
        this.position = Math.max(this.position, queue.id);
      }
    }
    const delivered = store.loadDelivered();
    for (const [id, position] of delivered) {
      const queue = queues.get(id);
      if (queue) queue.delivered = queue.deliveredStored = position;
      else store.dropDelivered(id);
      // Positions go on where they were, though the messages are gone: what is published next was never delivered.
      this.position = Math.max(this.position, position);
    }
    const shared = new Map<number, Message>();
    const lost: StoredEntry[] = [];
    for (const stored of store.load()) {
      this.position = Math.max(this.position, stored.position);
      const queue = queues.get(stored.queue);
      if (!queue) {
        lost.push(stored);
        continue;
      }
      let message = shared.get(stored.row);
      if (!message) {
        message = restoreMessage(stored.data, stored.properties);
        adopt(message, stored.row, 0);
        if (stored.row !== stored.position) shared.set(stored.row, message);
      }
      message.entries++;
      this.hold(message);
      queue.append({
        message,
        queue,
        position: stored.position,
        expires: stored.expires,
        redelivered: stored.position <= queue.delivered,
        returns: 0,
        stored: 2,
      });
    }
    if (lost.length > 0) store.forget(lost);
    for (const queue of queues.values()) queue.restored();
  }
}
