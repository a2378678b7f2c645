/**
 * A client that speaks frames, for what no client library would ever send.
 * @module
 */
import { Buffer } from "node:buffer";
import { methodById, writeMethod } from "../protocol/codec.ts";
import { Reader, Scratch, toTable, writeUint } from "../protocol/fields.ts";
import { type Args, frame, type MethodName } from "../protocol/spec.ts";
import { virtualHostOf, within } from "./harness.ts";

/** A frame as it came; methods are decoded. */
export interface Frame {
  type: number;
  channel: number;
  method?: MethodName;
  args?: Record<string, unknown>;
  payload: Buffer;
}

/** A connection whose frames a test sends and reads one by one. */
export class Wire implements AsyncDisposable {
  private buf: Buffer = Buffer.alloc(0);
  private constructor(readonly conn: Deno.TcpConn) {}

  /** Connect to the server of `url` and send nothing yet. */
  static async connect(url: string): Promise<Wire> {
    const { hostname, port } = new URL(url);
    // An IPv6 address stands in brackets in a URL.
    const conn = await Deno.connect({
      hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
      port: Number(port || 5672),
    });
    conn.setNoDelay();
    return new Wire(conn);
  }

  /** Connect, log in, tune and open; then open channel 1. */
  static async open(url: string, capabilities: Record<string, boolean> = {}): Promise<Wire> {
    const wire = await Wire.login(url, capabilities);
    await wire.expect("connection.tune");
    await wire.send(0, "connection.tune-ok", { channelMax: 10, frameMax: 131072, heartbeat: 0 });
    const virtualHost = virtualHostOf(url);
    await wire.send(0, "connection.open", { virtualHost, capabilities: "", insist: false });
    await wire.expect("connection.open-ok");
    await wire.send(1, "channel.open", { outOfBand: "" });
    await wire.expect("channel.open-ok");
    return wire;
  }

  /** Connect and send start-ok. */
  static async login(
    url: string,
    capabilities: Record<string, boolean> = {},
    response?: string,
    mechanism = "PLAIN",
  ): Promise<Wire> {
    const wire = await Wire.connect(url);
    const { username, password } = new URL(url);
    await wire.bytes(Buffer.from("AMQP\0\0\x09\x01", "latin1"));
    await wire.expect("connection.start");
    await wire.send(0, "connection.start-ok", {
      clientProperties: toTable({ capabilities }),
      mechanism,
      response: response ??
        `\0${decodeURIComponent(username) || "guest"}\0${decodeURIComponent(password) || "guest"}`,
      locale: "en_US",
    });
    return wire;
  }

  async bytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  async send<N extends MethodName>(channel: number, name: N, args: Args<N>): Promise<void> {
    const scratch = new Scratch();
    writeMethod(scratch, channel, name, args);
    await this.bytes(scratch.done());
  }

  /** Send a frame of any kind. */
  async frame(type: number, channel: number, payload: Uint8Array, end = 0xce): Promise<void> {
    const scratch = new Scratch();
    writeUint(scratch, type, 1);
    writeUint(scratch, channel, 2);
    writeUint(scratch, payload.length, 4);
    await this.bytes(Buffer.concat([scratch.done(), payload, Buffer.of(end)]));
  }

  /** Send basic.publish with a body, and no property but delivery-mode 2 when it is `persistent`. */
  async publish(
    exchange: string,
    routingKey: string,
    body: string,
    channel = 1,
    persistent = false,
  ): Promise<void> {
    await this.send(channel, "basic.publish", {
      ticket: 0,
      exchange,
      routingKey,
      mandatory: false,
      immediate: false,
    });
    await this.header(channel, body.length, 60, persistent);
    if (body.length > 0) await this.frame(3, channel, Buffer.from(body, "latin1"));
  }

  /** Subscribe on channel 1; answered unless `nowait`. */
  async consume(queue: string, { noAck = false, nowait = false } = {}): Promise<void> {
    await this.send(1, "basic.consume", {
      ticket: 0,
      queue,
      consumerTag: nowait ? queue : "",
      noLocal: false,
      noAck,
      exclusive: false,
      nowait,
      arguments: new Map(),
    });
    if (!nowait) await this.expect("basic.consume-ok");
  }

  /** Send a content header without properties, or with delivery-mode 2. */
  async header(
    channel: number,
    bodySize: number,
    classId = 60,
    persistent = false,
  ): Promise<void> {
    const scratch = new Scratch();
    writeUint(scratch, classId, 2);
    writeUint(scratch, 0, 2);
    writeUint(scratch, bodySize, 8);
    writeUint(scratch, persistent ? 0x1000 : 0, 2);
    if (persistent) writeUint(scratch, 2, 1);
    await this.frame(frame.header, channel, scratch.done());
  }

  /** The next frame, or undefined at the end of the connection. */
  async read(): Promise<Frame | undefined> {
    for (;;) {
      if (this.buf.length >= 7) {
        const size = this.buf.readUInt32BE(3);
        if (this.buf.length >= size + 8) {
          const [type, channel] = [this.buf[0]!, this.buf.readUInt16BE(1)];
          const payload = this.buf.subarray(7, 7 + size);
          this.buf = this.buf.subarray(size + 8);
          if (type !== frame.method) return { type, channel, payload };
          const reader = new Reader(payload).window(0, payload.length);
          const method = methodById(reader.long())!;
          return { type, channel, payload, method: method.name, args: method.decode(reader) };
        }
      }
      const chunk = Buffer.alloc(65536);
      const count = await within(this.conn.read(chunk).catch(() => null), "a frame");
      if (count === null) return undefined;
      this.buf = Buffer.concat([this.buf, chunk.subarray(0, count)]);
    }
  }

  /** The arguments of the next frame, which must be this method. Heartbeats are passed over. */
  async expect<N extends MethodName>(name: N): Promise<Args<N>> {
    let next = await this.read();
    while (next?.type === frame.heartbeat) next = await this.read();
    if (next?.method !== name) {
      throw new Error(
        `Cannot see ${name}: ${JSON.stringify(next?.method ?? next)} ${
          JSON.stringify(next?.args ?? {})
        }`,
      );
    }
    return next.args as Args<N>;
  }

  /** What is left in the receive buffer. */
  get rest(): Buffer {
    return this.buf;
  }

  [Symbol.asyncDispose](): Promise<void> {
    try {
      this.conn.close();
    } catch { /* closed by the other side */ }
    return Promise.resolve();
  }
}

/** The connection.close that must come next: its code, its text, and the method that it names, such as `60.40`. */
export async function closeOf(wire: Wire): Promise<[code: number, text: string, method: string]> {
  const { replyCode, replyText, classId, methodId } = await wire.expect("connection.close");
  await wire.send(0, "connection.close-ok", {});
  return [replyCode, replyText, `${classId}.${methodId}`];
}
