/**
 * A connection: its socket, its frames, and the channel 0 that opens and closes it (spec 2.2, 4.2).
 * @module
 */
import { Buffer } from "node:buffer";
import type { Broker } from "../broker/broker.ts";
import { Channel } from "../channel/channel.ts";
import { publish } from "../channel/basic.ts";
import { type Handler, handlers } from "../channel/methods.ts";
import { methodById, methodId, writeMethod } from "../protocol/codec.ts";
import { Content } from "../message/content.ts";
import { writeHeartbeat } from "../message/delivery.ts";
import { Reader, readLatin1, type Table, writeLatin1 } from "../protocol/fields.ts";
import { handshake } from "./handshake.ts";
import { Output } from "../protocol/output.ts";
import type { Owner, Queue } from "../queue/queue.ts";
import { type Args, frame, type MethodName, ProtocolError } from "../protocol/spec.ts";
import { isClosed, snippet } from "./socket_error.ts";
import type { VirtualHost } from "../broker/vhost.ts";

/** Unsent output above which nothing more is delivered to a connection, and nothing more is read from it. */
const outputMark = 1024 * 1024;
const firstReadSize = 16 * 1024;
/** Largest frame before tuning (RabbitMQ `initial_frame_max`). */
const initialFrameMax = 4096;

/** Where the connection stands; `closed`: only its end is waited for. */
export type ConnectionState = "header" | "starting" | "tuning" | "opening" | "running" | "closed";

/** One client's connection. `run()` serves it until it ends. */
export class Connection implements Owner {
  state: ConnectionState = "header";
  readonly output: Output;
  readonly channels = new Map<number, Channel>();
  readonly exclusive = new Set<Queue>();
  frameMax = initialFrameMax;
  channelMax = 0;
  /** Seconds between heartbeats, 0 for none. */
  heartbeat = 0;
  capabilities: Table = new Map();
  user = "";
  vhost: VirtualHost | undefined;
  /** Memory is short, and it published: nothing is read from it. */
  private blocked = false;
  private resume: (() => void) | undefined;
  private confirmers = new Set<Channel>();
  private readonly reader: Reader;
  private buf: Buffer = Buffer.allocUnsafeSlow(firstReadSize);
  private lastReceived: number;
  private lastSent: number;
  private sentBefore = 0;
  private deadline: number;
  private ended = false;
  /** The method under way, for the class and method of a close. */
  private current = 0;

  constructor(readonly broker: Broker, private readonly conn: Deno.Conn) {
    this.reader = new Reader(this.buf);
    this.output = new Output(conn, () => {
      if (this.ended) return;
      this.touched();
      if (this.writable) {
        this.wake();
        for (const channel of this.channels.values()) channel.drain();
      }
    });
    this.lastReceived = this.lastSent = broker.now();
    this.deadline = this.lastReceived + broker.limits.patience;
  }

  /** Whether more may be written, or enough waits to be sent. */
  get writable(): boolean {
    return this.output.unsent < outputMark;
  }

  /** Whether the client announced a capability. */
  can(capability: string): boolean {
    return this.capabilities.get(capability)?.v === true;
  }

  /** Something was written: it is sent at the end of the turn. */
  touched(): void {
    this.broker.flushLater(this);
  }

  awaitConfirms(channel: Channel): void {
    this.confirmers.add(channel);
    this.touched();
  }

  /** The end of a turn: everything is committed (or not), so confirm and send. */
  finishTurn(stored: boolean): void {
    if (this.confirmers.size > 0) {
      for (const channel of this.confirmers) channel.sendConfirms(stored);
      this.confirmers.clear();
    }
    this.output.flush();
  }

  send<N extends MethodName>(name: N, args: Args<N>): void {
    writeMethod(this.output, 0, name, args);
    this.touched();
  }

  /** Serve the connection until it ends. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.readLoop();
    } catch (error) {
      if (!isClosed(error)) this.broker.report(error);
    }
    this.end();
  }

  private async readLoop(): Promise<void> {
    let end = 0;
    for (;;) {
      while (this.mustWait()) await new Promise<void>((resolve) => this.resume = resolve);
      if (this.ended) return;
      const count = await this.conn.read(end === 0 ? this.buf : this.buf.subarray(end));
      if (count === null || this.ended) return;
      this.lastReceived = this.broker.now();
      end += count;
      const used = this.consume(end);
      if (used < 0) return;
      if (used > 0) {
        this.buf.copyWithin(0, used, end);
        end -= used;
      }
      if (end === this.buf.length || (count >= 8192 && this.buf.length < 65536)) this.grow(end);
    }
  }

  private grow(end: number): void {
    const grown = Buffer.allocUnsafeSlow(this.buf.length * 4);
    this.buf.copy(grown, 0, 0, end);
    this.buf = this.reader.buf = grown;
  }

  private mustWait(): boolean {
    return !this.ended && (!this.writable || this.blocked) && this.state !== "closed";
  }

  private wake(): void {
    this.resume?.();
    this.resume = undefined;
  }

  /** Handle the whole frames in the buffer. @returns the bytes used, -1 to end the connection. */
  private consume(end: number): number {
    let pos = 0;
    const { buf } = this;
    if (this.state === "header") {
      if (end < 8) return 0;
      if (!this.acceptHeader()) return -1;
      pos = 8;
    }
    while (end - pos >= 7) {
      const type = buf[pos]!;
      const channel = buf.readUInt16BE(pos + 1);
      const size = buf.readUInt32BE(pos + 3);
      if (size > this.frameMax) {
        this.frameError(type, Buffer.alloc(0), `{frame_too_large,${size},${this.frameMax - 8}}`);
        return end;
      }
      if (end - pos < size + 8) break;
      const start = pos + 7;
      pos = start + size + 1;
      if (buf[pos - 1] !== frame.end) {
        const payload = buf.subarray(start, pos - 1);
        this.frameError(type, payload, `{invalid_frame_end_marker,${buf[pos - 1]}}`);
        return end;
      }
      this.handleFrame(type, channel, start, pos - 1);
      if (this.ended) return -1;
    }
    return pos;
  }

  private acceptHeader(): boolean {
    const header = readLatin1(this.buf, 0, 8);
    // The second form is how 0-9 clients spelled it; RabbitMQ takes it as 0-9-1.
    if (header !== "AMQP\0\0\x09\x01" && header !== "AMQP\x01\x01\0\x09") {
      this.output.reserve(8);
      this.output.pos += writeLatin1(this.output.buf, "AMQP\0\0\x09\x01", this.output.pos);
      this.output.flush();
      return false;
    }
    this.state = "starting";
    this.send("connection.start", {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: this.broker.serverProperties,
      mechanisms: "PLAIN AMQPLAIN",
      locales: "en_US",
    });
    return true;
  }

  private handleFrame(type: number, channel: number, start: number, end: number): void {
    const { reader } = this;
    reader.window(start, end);
    this.current = 0;
    try {
      if (channel === 0) this.handleFrame0(type);
      else if (this.state === "running") this.channelFrame(type, channel, start, end);
      else if (this.state !== "closed") this.end();
    } catch (error) {
      this.fail(channel, error);
    }
    this.broker.afterMethod();
  }

  private handleFrame0(type: number): void {
    const { reader } = this;
    if (type === frame.heartbeat) return;
    if (type !== frame.method) {
      if (this.state === "closed") return;
      throw this.unexpected(type, reader);
    }
    this.current = reader.long();
    const method = methodById(this.current);
    if (this.state === "closed" && method?.name !== "connection.close") {
      if (method?.name === "connection.close-ok") this.end();
      return;
    }
    if (!method) {
      throw new ProtocolError("COMMAND_INVALID", `unknown method ${this.current}`);
    }
    const args = method.decode(reader);
    switch (method.name) {
      case "connection.close":
        this.closeChannels();
        this.state = "closed";
        this.deadline = this.broker.now() + this.broker.limits.patience;
        this.send("connection.close-ok", {});
        return;
      case "connection.close-ok":
        return;
      default:
        handshake(this, method.name, args);
    }
  }

  private channelFrame(type: number, id: number, start: number, end: number): void {
    let channel = this.channels.get(id);
    const { reader } = this;
    if (type === frame.method) {
      const number = this.current = reader.long();
      const method = methodById(number);
      if (channel?.state === "closing") {
        if (method?.name === "channel.close-ok") this.channels.delete(id);
        else if (method?.name === "channel.close") channel.send("channel.close-ok", {});
        return;
      }
      if (!method) {
        throw new ProtocolError("COMMAND_INVALID", `unknown method ${number}`);
      }
      if (!channel) channel = this.openChannel(id, method.name);
      else if (channel.content) {
        this.current = methodId("basic.publish");
        throw new ProtocolError(
          "UNEXPECTED_FRAME",
          channel.content.headerSeen
            ? "expected content body, got non content body frame instead"
            : "expected content header for class 60, got non content header frame instead",
        );
      } else if (method.name === "basic.publish") {
        const args = method.decode(reader) as unknown as Args<"basic.publish">;
        if (args.immediate) throw new ProtocolError("NOT_IMPLEMENTED", "immediate=true");
        channel.content = new Content(args.exchange, args.routingKey, args.mandatory);
      } else {
        const handler = handlers[method.name as keyof typeof handlers] as
          | Handler<MethodName>
          | undefined;
        if (!handler) throw new ProtocolError("COMMAND_INVALID", "unimplemented method");
        handler(channel, method.decode(reader) as Args<MethodName>);
      }
      return;
    }
    if (type !== frame.header && type !== frame.body) throw this.unexpected(type, reader);
    if (channel?.state === "closing") return;
    if (!channel) throw new ProtocolError("CHANNEL_ERROR", "expected 'channel.open'");
    const { content } = channel;
    if (!content) {
      throw new ProtocolError(
        "UNEXPECTED_FRAME",
        "expected method frame, got non method frame instead",
      );
    }
    this.current = methodId("basic.publish");
    if ((type === frame.header) === content.headerSeen) {
      throw new ProtocolError(
        "UNEXPECTED_FRAME",
        content.headerSeen
          ? "expected content body, got non content body frame instead"
          : "expected content header for class 60, got non content header frame instead",
      );
    }
    if (type === frame.header) content.header(reader, this.broker.limits.maxMessageSize);
    else content.body(this.buf, start, end);
    if (!content.complete) return;
    channel.content = undefined;
    publish(channel, content);
    if (this.broker.short) this.block();
  }

  private openChannel(id: number, method: MethodName): Channel {
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
    return channel;
  }

  /** The client closes a channel: everything goes back, what was published is confirmed first. */
  closeChannel(channel: Channel): void {
    if (this.confirmers.delete(channel)) this.broker.commitNow((ok) => channel.sendConfirms(ok));
    channel.release();
    this.channels.delete(channel.id);
    channel.send("channel.close-ok", {});
  }

  private unexpected(type: number, reader: Reader): ProtocolError {
    return new ProtocolError(
      "UNEXPECTED_FRAME",
      `type ${type}, ${snippet(reader.buf.subarray(reader.pos, reader.end))}`,
    );
  }

  private frameError(type: number, payload: Buffer, what: string): void {
    this.current = 0;
    this.fail(0, new ProtocolError("FRAME_ERROR", `type ${type}, ${snippet(payload)}: ${what}`));
  }

  /** Tell the client of an error: close the channel or the connection; before the tuning just hang up. */
  fail(id: number, error: unknown): void {
    if (!(error instanceof ProtocolError)) {
      this.broker.report(error);
      error = new ProtocolError("INTERNAL_ERROR", "unexpected error in the broker");
    }
    const { code, hard, message } = error as ProtocolError;
    const close = {
      replyCode: code,
      // A short string holds 255 octets; RabbitMQ cuts the same way.
      replyText: message.length > 255 ? message.slice(0, 252) + "..." : message,
      classId: this.current >>> 16,
      methodId: this.current & 0xffff,
    };
    const channel = this.channels.get(id);
    if (!hard && id !== 0 && channel) {
      // What was published before the error is still confirmed, before the close.
      if (this.confirmers.delete(channel)) this.broker.commitNow((ok) => channel.sendConfirms(ok));
      channel.release();
      channel.send("channel.close", close);
      return;
    }
    if (this.state === "closed") return;
    const told = this.state === "running" || this.state === "opening" || this.state === "tuning" ||
      (code === 403 && this.can("authentication_failure_close"));
    this.closeChannels();
    this.state = "closed";
    this.deadline = this.broker.now() + this.broker.limits.patience;
    if (told) this.send("connection.close", close);
    else this.end();
  }

  /** Close with 320 CONNECTION_FORCED, as when the broker shuts down. */
  shutDown(reason: string): void {
    this.current = 0;
    if (this.state === "running") {
      this.fail(0, new ProtocolError("CONNECTION_FORCED", reason));
    } else this.end();
  }

  private closeChannels(): void {
    const channels = [...this.channels.values()];
    this.channels.clear();
    for (const channel of channels) channel.release();
    this.confirmers.clear();
    for (const queue of [...this.exclusive]) this.vhost!.removeQueue(queue);
  }

  /** Memory is short: stop reading from a publisher, and tell it if it wants to know. */
  private block(): void {
    if (this.blocked) return;
    this.blocked = true;
    if (this.can("connection.blocked")) {
      this.send("connection.blocked", { reason: "low on memory" });
    }
  }

  /** Memory is there again. */
  unblock(): void {
    if (!this.blocked) return;
    this.blocked = false;
    this.lastReceived = this.broker.now();
    if (this.can("connection.blocked")) this.send("connection.unblocked", {});
    this.wake();
  }

  /** Called every second: heartbeats, dead peers, clients that never finish. */
  tick(now: number): void {
    if (this.state !== "running") {
      if (now > this.deadline) this.end();
      return;
    }
    this.checkDeliveries(now);
    if (this.heartbeat === 0) return;
    const beat = this.heartbeat * 1000;
    if (this.output.unsent === 0 && now - this.lastSent >= beat / 2) {
      this.lastSent = now;
      writeHeartbeat(this.output);
      this.touched();
    }
    // Who takes what we send is alive, though we may not be reading from him meanwhile.
    if (!this.writable && this.output.sent !== this.sentBefore) this.lastReceived = now;
    this.sentBefore = this.output.sent;
    if (!this.blocked && now - this.lastReceived > beat * 2) this.end();
  }

  /** Close channels whose client keeps a delivery too long (RabbitMQ "Delivery Acknowledgement Timeout"). */
  private checkDeliveries(now: number): void {
    const timeout = this.broker.limits.consumerTimeout;
    for (const channel of this.channels.values()) {
      if (channel.state !== "open" || now - channel.oldest <= timeout) continue;
      this.current = 0;
      this.fail(
        channel.id,
        new ProtocolError(
          "PRECONDITION_FAILED",
          `delivery acknowledgement on channel ${channel.id} timed out. Timeout value used: ${timeout} ms. ` +
            "This timeout value can be configured, see consumers doc guide to learn more",
        ),
      );
    }
  }

  /** The connection is over: give everything back. */
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
    }, 2000);
    this.wake();
  }
}
