/**
 * A connection: its socket, its frames, and the channel 0 that opens and closes it (spec 2.2, 4.2).
 * @module
 */
import type { Broker, Client } from "../broker/broker.ts";
import type { VirtualHost } from "../broker/vhost.ts";
import { Channel, type ChannelConnection } from "../channel/channel.ts";
import { handleMethod, secondOpen } from "../channel/methods.ts";
import { takeContent } from "../channel/publish.ts";
import { writeHeartbeat } from "../message/delivery.ts";
import { methodById, writeMethod } from "../protocol/codec.ts";
import type { Table } from "../protocol/fields.ts";
import { FrameReader } from "../protocol/frames.ts";
import { Output } from "../protocol/output.ts";
import { ProtocolError, unknownMethod } from "../protocol/errors.ts";
import { type Args, frame, type MethodName } from "../protocol/spec.ts";
import type { Queue } from "../queue/queue.ts";
import { acceptHeader, type ConnectionState, handshake, type Session } from "./handshake.ts";
import { Liveness } from "./liveness.ts";
import { Pace } from "./pace.ts";
import { isClosed } from "./socket_errors.ts";

/** Largest frame before tuning (RabbitMQ `initial_frame_max`). */
const initialFrameMax = 4096;
/** Milliseconds that a client has to take the last bytes that were written for it. */
const lastBytesPatience = 2000;
/** Milliseconds that a client has to take in that it was refused: with the next tick it is closed within 3 s, as by RabbitMQ. */
const refusedPatience = 2500;

/** One client's connection. `run()` serves it until it ends. */
export class Connection implements Client, ChannelConnection, Session {
  state: ConnectionState = "header";
  readonly output: Output;
  readonly pace: Pace;
  readonly channels = new Map<number, Channel>();
  readonly exclusive = new Set<Queue>();
  frameMax = initialFrameMax;
  channelMax = 0;
  heartbeat = 0;
  capabilities: Table = new Map();
  user = "";
  vhost: VirtualHost | undefined;
  current = 0;
  /** Memory or the disk is short, and it published: nothing is read from it. */
  private blocked = false;
  /** Its output tells of changes that are not yet committed. */
  private uncommitted = false;
  /** Ends the wait of the reading side for room in the output, or in memory. */
  private readOn: (() => void) | undefined;
  private readonly confirmers = new Set<Channel>();
  private readonly frames: FrameReader;
  private readonly liveness: Liveness;
  /** Until then the handshake, or the answer to a close, must have come. In epoch milliseconds. */
  private deadline: number;
  private ended = false;

  /** @param address Where the client connects from. */
  constructor(
    readonly broker: Broker,
    private readonly conn: Deno.Conn,
    readonly address: string,
  ) {
    const now = broker.now();
    this.frames = new FrameReader(conn);
    this.output = new Output(conn, () => this.outputTaken());
    this.pace = new Pace(this.output);
    this.liveness = new Liveness(now);
    this.deadline = now + broker.limits.patience;
  }

  get writable(): boolean {
    return this.pace.writable;
  }

  deliver(write: () => void): void {
    this.pace.deliver(write);
    this.touched();
  }

  can(capability: string): boolean {
    return this.capabilities.get(capability)?.v === true;
  }

  touched(): void {
    this.broker.flushLater(this);
  }

  awaitConfirms(channel: Channel): void {
    this.confirmers.add(channel);
    this.touched();
  }

  sendEarly(): void {
    if (!this.uncommitted) this.output.flush();
  }

  finishTurn(refusal: string | undefined): void {
    if (refusal !== undefined) this.holdBack(refusal);
    else if (this.confirmers.size > 0) {
      for (const channel of this.confirmers) channel.sendConfirms();
      this.confirmers.clear();
    }
    this.uncommitted = false;
    this.output.flush();
  }

  /**
   * The disk takes nothing. Who was answered something that is not on disk does not get that answer, but an error: as
   * RabbitMQ's internal errors, it ends the connection. Who waits for confirms is blocked, and gets them once they are true.
   */
  private holdBack(reason: string): void {
    if (this.uncommitted && this.state === "running") {
      this.output.discard();
      this.current = 0;
      this.fail(0, new ProtocolError("INTERNAL_ERROR", `cannot store: ${reason}`));
    } else if (this.confirmers.size > 0) this.block();
  }

  send<N extends MethodName>(name: N, args: Args<N>): void {
    writeMethod(this.output, 0, name, args);
    this.touched();
  }

  /** The socket took what was written: go on with what waited for that. */
  private outputTaken(): void {
    this.pace.taken();
    if (this.ended) return;
    this.touched();
    if (!this.writable) return;
    this.resumeReading();
    for (const channel of this.channels.values()) channel.drain();
  }

  // ---- reading

  /** Serve the connection until it ends. Never rejects. */
  async run(): Promise<void> {
    try {
      while (await this.read());
    } catch (error) {
      if (!isClosed(error)) this.broker.report(error);
    }
    this.end();
  }

  /** Read what comes next and handle it. @returns false when the connection is over */
  private async read(): Promise<boolean> {
    while (this.mustWait()) await new Promise<void>((resolve) => this.readOn = resolve);
    if (this.ended || !await this.frames.fill()) return false;
    this.liveness.received();
    if (this.state === "header") {
      const header = this.frames.protocolHeader();
      if (header === undefined) return true;
      if (!acceptHeader(this, header)) return false;
    }
    while (!this.ended && this.nextFrame()) this.handleFrame();
    await this.pace.pause(this.frames.busy);
    return !this.ended;
  }

  private mustWait(): boolean {
    return !this.ended && (this.pace.unanswered || this.blocked) && this.state !== "closed";
  }

  private resumeReading(): void {
    this.readOn?.();
    this.readOn = undefined;
  }

  private nextFrame(): boolean {
    try {
      return this.frames.next(this.frameMax);
    } catch (error) {
      this.current = 0;
      this.fail(0, error);
      return false;
    }
  }

  private handleFrame(): void {
    const { channel } = this.frames;
    const { changes } = this.broker;
    this.current = 0;
    try {
      if (channel === 0) this.handleControlFrame();
      else if (this.state === "running") this.handleChannelFrame();
      else if (this.state !== "closed") this.end();
    } catch (error) {
      this.fail(channel, error);
    }
    this.broker.afterMethod();
    if (this.broker.changes !== changes) this.uncommitted = true;
  }

  /** A frame on channel 0: a heartbeat or a method of class connection. */
  private handleControlFrame(): void {
    const { type, payload } = this.frames;
    if (type === frame.heartbeat) return;
    if (type !== frame.method) {
      if (this.state === "closed") return;
      throw this.frames.unexpected();
    }
    this.current = payload.long();
    const method = methodById(this.current);
    if (this.state === "closed" && method?.name !== "connection.close") {
      if (method?.name === "connection.close-ok") this.end();
      return;
    }
    if (!method) throw unknownMethod(this.current);
    const args = method.decode(payload);
    if (method.name === "connection.close") this.acceptClose();
    else handshake(this, method.name, args);
  }

  private handleChannelFrame(): void {
    const { type, channel: id } = this.frames;
    const channel = this.channels.get(id);
    if (type === frame.method) return this.handleChannelMethod(id, channel);
    if (type !== frame.header && type !== frame.body) throw this.frames.unexpected();
    if (channel?.state === "closing") return;
    if (!channel) throw new ProtocolError("CHANNEL_ERROR", "expected 'channel.open'");
    takeContent(channel, this.frames);
  }

  private handleChannelMethod(id: number, channel: Channel | undefined): void {
    const { payload } = this.frames;
    this.current = payload.long();
    const method = methodById(this.current);
    if (channel?.state === "closing") return this.handleWhileClosing(channel, method?.name);
    if (!method) throw unknownMethod(this.current);
    if (channel) handleMethod(channel, method, payload);
    else this.openChannel(id, method.name);
  }

  /** The broker closed the channel and waits for close-ok: what the client sent before it knew is passed over. */
  private handleWhileClosing(channel: Channel, method: MethodName | undefined): void {
    if (method === "channel.close-ok") this.channels.delete(channel.id);
    else if (method === "channel.close") channel.send("channel.close-ok", {});
    else if (method === "channel.open") throw secondOpen();
  }

  private openChannel(id: number, method: MethodName): void {
    if (this.channels.size >= this.channelMax) {
      this.current = 0;
      throw new ProtocolError(
        "NOT_ALLOWED",
        `number of channels opened (${this.channels.size}) has reached the negotiated channel_max (${this.channelMax})`,
      );
    }
    if (method !== "channel.open") {
      throw new ProtocolError("CHANNEL_ERROR", "expected 'channel.open'");
    }
    const channel = new Channel(this.broker, this, this.vhost!, id);
    this.channels.set(id, channel);
    channel.send("channel.open-ok", { channelId: "" });
  }

  // ---- closing

  /** The client closes a channel: everything goes back, what was published is confirmed first. */
  closeChannel(channel: Channel): void {
    this.confirmNow(channel);
    channel.release();
    this.channels.delete(channel.id);
    channel.send("channel.close-ok", {});
  }

  private confirmNow(channel: Channel): void {
    if (this.confirmers.delete(channel) && this.broker.commit()) channel.sendConfirms();
  }

  /** The client closes the connection. */
  private acceptClose(): void {
    this.startClosing();
    this.send("connection.close-ok", {});
  }

  /** Give everything back, and wait for the other side's answer, or its end. */
  private startClosing(): void {
    this.closeChannels();
    this.state = "closed";
    this.deadline = this.broker.now() + this.broker.limits.patience;
  }

  private closeChannels(): void {
    const channels = [...this.channels.values()];
    this.channels.clear();
    for (const channel of channels) channel.release();
    this.confirmers.clear();
    for (const queue of [...this.exclusive]) this.vhost!.removeQueue(queue);
  }

  /** Tell the client of an error: close the channel or the connection; before the tuning just hang up. */
  private fail(id: number, error: unknown): void {
    const reason = this.asProtocolError(error);
    const channel = this.channels.get(id);
    if (!reason.hard && id !== 0 && channel) {
      // What was published before the error is still confirmed, before the close.
      this.confirmNow(channel);
      channel.release();
      channel.send("channel.close", this.closeArgs(reason));
      return;
    }
    if (this.state === "closed") return;
    const told = this.state === "running" || this.state === "opening" || this.state === "tuning" ||
      (reason.code === 403 && this.can("authentication_failure_close"));
    this.startClosing();
    if (told) this.send("connection.close", this.closeArgs(reason));
    else this.end();
  }

  private asProtocolError(error: unknown): ProtocolError {
    if (error instanceof ProtocolError) return error;
    this.broker.report(error);
    return new ProtocolError("INTERNAL_ERROR", "unexpected error in the broker");
  }

  private closeArgs({ code, replyText }: ProtocolError): Args<"connection.close"> {
    return {
      replyCode: code,
      replyText,
      classId: this.current >>> 16,
      methodId: this.current & 0xffff,
    };
  }

  refuse(reason: ProtocolError): void {
    this.fail(0, reason);
    this.deadline = this.broker.now() + refusedPatience;
  }

  shutDown(reason: string): void {
    this.current = 0;
    if (this.state === "running") {
      this.fail(0, new ProtocolError("CONNECTION_FORCED", reason));
    } else this.end();
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.state = "closed";
    this.closeChannels();
    this.broker.forget(this);
    // What was just written still goes out.
    this.output.finish(() => {
      try {
        this.conn.close();
      } catch { /* already closed */ }
    }, lastBytesPatience);
    this.resumeReading();
  }

  // ---- shortage and time

  block(): void {
    if (this.blocked) return;
    this.blocked = true;
    if (this.can("connection.blocked")) {
      this.send("connection.blocked", { reason: `low on ${this.broker.shortage}` });
    }
  }

  unblock(): void {
    if (!this.blocked) return;
    this.blocked = false;
    this.liveness.received();
    if (this.can("connection.blocked")) this.send("connection.unblocked", {});
    this.resumeReading();
  }

  tick(now: number): void {
    if (this.state !== "running") {
      if (now > this.deadline) this.end();
      return;
    }
    this.checkDeliveries(now);
    const { sent, unsent } = this.output;
    const traffic = { sent, unsent, backedUp: !this.writable, blocked: this.blocked };
    const due = this.liveness.due(now, this.heartbeat, traffic);
    if (due === "hang up") {
      this.broker.report(
        `Connection from ${this.address} closed: nothing came from it for two heartbeats of ${this.heartbeat} s`,
      );
      return this.end();
    }
    if (due === "nothing") return;
    writeHeartbeat(this.output);
    this.touched();
  }

  private checkDeliveries(now: number): void {
    for (const channel of this.channels.values()) {
      const reason = channel.overdue(now);
      if (!reason) continue;
      this.current = 0;
      this.fail(channel.id, reason);
    }
  }
}
