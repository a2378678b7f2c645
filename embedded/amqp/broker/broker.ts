/**
 * The broker: what its connections share, and the turn in which everything that happened is committed and sent.
 *
 * Frames are handled synchronously as they arrive; the rest of the turn runs in a microtask after it, once for all
 * connections that had something to say: commit, confirm, write.
 * @module
 */
import { deadMessage, isCycle } from "../queue/dead_letter.ts";
import type { Output } from "../protocol/output.ts";
import type { Message } from "../message/message.ts";
import type { DeathReason, Entry, Queue } from "../queue/queue.ts";
import type { Store } from "../storage/store.ts";
import { restore } from "./restore.ts";
import { type TopologyHost, VirtualHost } from "./vhost.ts";

/** Bytes that a message costs beyond its own, as measured with a million of them. */
const messageOverhead = 450;
/** What nobody waits for is committed after so many milliseconds, or when so many entries have collected. */
const lazyCommit = { delay: 10, entries: 4000 };

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

/** A connection as the broker sees it. */
export interface Client {
  readonly output: Output;
  /** The end of a turn: confirm what was published and send what was written. @param stored Whether all is committed */
  finishTurn(stored: boolean): void;
  /** Memory is there again. */
  unblock(): void;
  /** A second has passed. @param now Epoch milliseconds */
  tick(now: number): void;
  /** Close with 320 CONNECTION_FORCED. */
  shutDown(reason: string): void;
  /** The connection is over: give everything back. */
  end(): void;
}

/** Who waits for direct replies. */
export interface ReplyConsumer {
  deliverReply(message: Message): void;
}

interface DeadLetter {
  queue: Queue;
  message: Message;
  reason: DeathReason;
}

/** The state that connections share: virtual hosts, memory, what is to be committed and sent. */
export class Broker implements TopologyHost {
  readonly vhosts = new Map<string, VirtualHost>();
  readonly connections = new Set<Client>();
  /** Direct reply-to: consumers by address. */
  readonly replies = new Map<string, ReplyConsumer>();
  /** Memory is short: publishers are blocked. */
  short = false;
  private memory = 0;
  private position = 0;
  private dead: DeadLetter[] = [];
  /** What `afterwards()` puts off until the current method is carried out. */
  private followUps: (() => void)[] = [];
  private toFlush = new Set<Client>();
  private turnPlanned = false;
  /** Someone waits for the commit: a publisher for his confirm. */
  private urgent = false;
  /** Nothing may be sent before the commit: an answer tells of what is to be durable. */
  private changing = false;
  private lazyTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param credentials User and password as binary strings.
   * @param file Where durable things go; undefined keeps all in memory.
   */
  constructor(
    readonly limits: Limits,
    private readonly credentials: readonly [user: string, password: string],
    vhosts: readonly string[],
    private readonly file: Store | undefined,
    private readonly log: (text: string) => void,
  ) {
    for (const name of vhosts) this.vhosts.set(name, new VirtualHost(name, this));
    if (!file) return;
    this.position = restore(file, this);
    for (const queue of this.queues()) queue.restored();
  }

  get entities(): Store | undefined {
    return this.file;
  }

  now(): number {
    return Date.now();
  }

  nextPosition(): number {
    return ++this.position;
  }

  private *queues(): Generator<Queue> {
    for (const vhost of this.vhosts.values()) yield* vhost.queues.values();
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
    if (!this.file) return;
    this.file.add(entry);
    this.planTurn();
  }

  unstore(entry: Entry): void {
    this.file!.remove(entry);
    this.planTurn();
  }

  deadLetter(queue: Queue, message: Message, reason: DeathReason): void {
    this.hold(message);
    this.dead.push({ queue, message, reason });
    this.planTurn();
  }

  /** Do something after the current method, whose answer comes first. */
  afterwards(action: () => void): void {
    this.followUps.push(action);
    this.planTurn();
  }

  /** What follows from a method; called after each, not within it. */
  afterMethod(): void {
    if (this.followUps.length > 0) { for (const action of this.followUps.splice(0)) action(); }
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
    this.replies.get(address)?.deliverReply(message);
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

  flushLater(connection: Client): void {
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
    const { file } = this;
    if (!file?.dirty) {
      this.urgent = this.changing = false;
      return true;
    }
    if (this.urgent || this.changing || file.backlog > lazyCommit.entries) return this.commit();
    this.lazyTimer ??= setTimeout(() => this.commit(), lazyCommit.delay);
    return true;
  }

  /** Commit at once, also in the middle of a turn. @returns false when the disk refuses */
  commit(): boolean {
    clearTimeout(this.lazyTimer);
    this.lazyTimer = undefined;
    this.urgent = this.changing = false;
    try {
      this.file?.commit();
      return true;
    } catch (error) {
      this.report(error);
      return false;
    }
  }

  // ---- connections

  forget(connection: Client): void {
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
    for (const queue of this.queues()) queue.stop();
    this.file?.close();
  }
}
