/**
 * The broker: what its connections share, and the turn in which everything that happened is committed and sent.
 *
 * Frames are handled synchronously as they arrive; the rest of the turn runs in a microtask after it, once for all
 * connections that had something to say: commit, confirm, write.
 * @module
 */
import { deadMessage, isCycle } from "../queue/dead_letter.ts";
import { type Message, setBacklog } from "../message/message.ts";
import type { DeathReason, Letter } from "../queue/letters.ts";
import type { Entry, Queue } from "../queue/queue.ts";
import type { Store } from "../storage/store.ts";
import { Disk } from "./disk.ts";
import { Logins } from "./logins.ts";
import { restore } from "./restore.ts";
import { type TopologyHost, VirtualHost } from "./vhost.ts";

/** Bytes that a message costs beyond its own, as measured with a million of them. */
const messageOverhead = 450;
/** Bytes of messages in memory above which they are a backlog, whose memory is given back when it is gone. */
const backlogMark = 128 * 1024 * 1024;

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
  /** The end of a turn, before the commit: send what need not wait for it. */
  sendEarly(): void;
  /**
   * The end of a turn, after the commit: confirm what was published, and send what was written.
   * @param refusal Why there was no commit; undefined when everything is on disk that must be
   */
  finishTurn(refusal: string | undefined): void;
  /** What was short is there again. */
  unblock(): void;
  /** Half a second has passed. @param now Epoch milliseconds */
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
  readonly logins: Logins;
  /** Direct reply-to: consumers by address. */
  readonly replies = new Map<string, ReplyConsumer>();
  /** Counts what `changed()` was called for: an answer that tells of it waits for the commit. */
  changes = 0;
  private memoryShort = false;
  private memory = 0;
  private position = 0;
  private dead: DeadLetter[] = [];
  /** Queues with letters that are to be sent after the current method. */
  private senders = new Set<Queue>();
  /** Queues with letters that nobody took. */
  private readonly waitingSenders = new Set<Queue>();
  /** What `afterwards()` puts off until the current method is carried out. */
  private followUps: (() => void)[] = [];
  private toFlush = new Set<Client>();
  private turnPlanned = false;
  /** Someone waits for the commit: a publisher for his confirm, or a client for an answer. */
  private urgent = false;
  private readonly disk: Disk | undefined;

  /**
   * @param credentials User and password as binary strings.
   * @param store Where durable things go; undefined keeps all in memory.
   */
  constructor(
    readonly limits: Limits,
    credentials: readonly [user: string, password: string],
    vhosts: readonly string[],
    store: Store | undefined,
    private readonly log: (text: string) => void,
  ) {
    this.logins = new Logins(credentials, log);
    for (const name of vhosts) this.vhosts.set(name, new VirtualHost(name, this));
    if (!store) return;
    this.disk = new Disk(store, log);
    this.position = restore(store, this);
    for (const queue of this.queues()) queue.restored();
  }

  get entities(): Store | undefined {
    return this.disk?.store;
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

  /** An unexpected error: the process lives on. */
  report(error: unknown): void {
    this.log(error instanceof Error ? error.stack ?? error.message : String(error));
  }

  // ---- messages

  hold(message: Message): void {
    if (message.holders++ > 0) return;
    this.memory += message.size + messageOverhead;
    if (this.memory > this.limits.memoryMark) this.memoryShort = true;
    if (this.memory > backlogMark) setBacklog(true);
  }

  release(message: Message): void {
    if (--message.holders > 0) return;
    this.memory -= message.size + messageOverhead;
    if (this.memory <= backlogMark) setBacklog(false);
    if (!this.memoryShort || this.memory > this.limits.memoryMark) return;
    this.memoryShort = false;
    this.unblock();
  }

  /** What is short, so that publishers are blocked. */
  get shortage(): "memory" | "disk" | undefined {
    return this.memoryShort ? "memory" : this.disk?.failure !== undefined ? "disk" : undefined;
  }

  private unblock(): void {
    if (this.shortage !== undefined) return;
    for (const connection of this.connections) connection.unblock();
  }

  store(entry: Entry): void {
    if (!this.disk) return;
    this.disk.store.add(entry);
    this.planTurn();
  }

  unstore(entry: Entry): void {
    this.disk!.store.remove(entry);
    this.planTurn();
  }

  storeFate(entry: Entry): void {
    this.disk!.store.setFate(entry);
    this.planTurn();
  }

  sendLetters(queue: Queue): void {
    this.senders.add(queue);
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
    if (this.dead.length === 0 && this.senders.size === 0) return;
    this.settleDead();
    for (const queue of this.senders) {
      this.senders.delete(queue);
      this.sendLettersOf(queue, false);
      this.settleDead();
    }
  }

  private sendLettersOf(queue: Queue, again: boolean): void {
    const left = queue.sendLetters((letter) => this.sendLetter(queue, letter), again);
    if (left) this.waitingSenders.add(queue);
    else this.waitingSenders.delete(queue);
  }

  /** Put a letter into the queues that it goes to. @returns false when one of them refused it, or there is none */
  private sendLetter(queue: Queue, { entry, reason, taken }: Letter<Entry>): boolean {
    const { dead, targets } = this.routeDead(queue, entry.message, reason);
    let accepted = targets.length > 0;
    for (const target of targets) {
      if (taken.has(target)) continue;
      if (target.publish(dead!)) taken.add(target);
      else accepted = false;
    }
    return accepted;
  }

  /** What is published in place of a message that died, and where it goes: nowhere, where there is no exchange. */
  private routeDead(
    queue: Queue,
    message: Message,
    reason: DeathReason,
  ): { dead?: Message; targets: readonly Queue[] } {
    const vhost = this.vhosts.get(queue.vhost)!;
    const exchange = vhost.exchanges.get(queue.settings.deadLetterExchange!);
    if (!exchange) return { targets: [] };
    const dead = deadMessage(message, queue, exchange.name, reason, this.now());
    const targets = vhost.route(exchange, [dead.routingKey, ...dead.copies], dead);
    if (reason === "rejected") return { dead, targets };
    return { dead, targets: targets.filter((target) => !isCycle(dead, target)) };
  }

  /** Publish what has died, and what dies of that. */
  private settleDead(): void {
    for (let i = 0; i < this.dead.length; i++) {
      const { queue, message, reason } = this.dead[i]!;
      const { dead, targets } = this.routeDead(queue, message, reason);
      for (const target of targets) target.publish(dead!);
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
    this.changes++;
    this.urgent = true;
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
    for (const connection of connections) connection.sendEarly();
    this.disk?.endTurn(this.urgent);
    this.urgent = false;
    this.finish(connections);
  }

  private finish(connections: Iterable<Client>): void {
    const refusal = this.disk?.failure;
    for (const connection of connections) connection.finishTurn(refusal);
  }

  /** Commit at once, in the middle of a turn. @returns false when the disk refuses */
  commit(): boolean {
    return this.disk?.commit() ?? true;
  }

  // ---- connections

  forget(connection: Client): void {
    this.connections.delete(connection);
    this.afterMethod();
  }

  /** Called twice a second. */
  tick(): void {
    if (this.disk?.retry()) {
      this.finish(this.connections);
      this.unblock();
    }
    this.disk?.tick();
    for (const queue of this.waitingSenders) this.sendLettersOf(queue, true);
    this.afterMethod();
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
    for (const queue of this.queues()) queue.stop();
    this.disk?.close();
  }
}
