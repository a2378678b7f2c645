/**
 * The frames that come from a socket, cut out of its bytes (spec 2.3.5).
 * @module
 */
import { Buffer } from "node:buffer";
import { erlangBytes } from "./erlang.ts";
import { Reader, readLatin1 } from "./fields.ts";
import { ProtocolError } from "./errors.ts";
import { frame } from "./spec.ts";

const firstSize = 16 * 1024;
/** A read that brings this much means that more is on its way: larger reads are cheaper then. */
const busyRead = 8 * 1024;
/** Up to this size the buffer grows because much comes in; beyond it only for a frame that needs the room. */
const busySize = 64 * 1024;
/** Octets around a payload: type, channel and size before it, the end octet after it. */
const headSize = 7;

/** The part of `Deno.Conn` that frames are read from. */
export interface Readable {
  /** Reads into `into`. @returns how many bytes came, null at the end of the connection */
  read(into: Uint8Array): Promise<number | null>;
}

/** The octets that a payload has at least: a method's or a content header's fixed part; Infinity for an unknown type. */
function smallest(type: number): number {
  switch (type) {
    case frame.method:
      return 4;
    case frame.header:
      return 12;
    case frame.body:
    case frame.heartbeat:
      return 0;
    default:
      return Infinity;
  }
}

/** Cuts received bytes into frames. One frame is current at a time, so that none costs an object of its own. */
export class FrameReader {
  /** Type of the current frame, one of `frame`. */
  type = 0;
  /** Channel of the current frame. */
  channel = 0;
  /** Stands at the start of the current frame's payload; valid until the next `fill()`. */
  readonly payload: Reader;
  private buf = Buffer.allocUnsafeSlow(firstSize);
  /** What has come and is not yet used is `[start, end)` of `buf`. */
  private start = 0;
  private end = 0;
  private lastRead = 0;

  /** @param source The socket. */
  constructor(private readonly source: Readable) {
    this.payload = new Reader(this.buf);
  }

  /** The last read brought much, so that the next one will hardly have to wait. */
  get busy(): boolean {
    return this.lastRead >= busyRead;
  }

  /** Wait for more bytes. @returns false at the end of the connection */
  async fill(): Promise<boolean> {
    this.makeRoom();
    const room = this.end === 0 ? this.buf : this.buf.subarray(this.end);
    const count = await this.source.read(room);
    if (count === null) return false;
    this.lastRead = count;
    this.end += count;
    return true;
  }

  private makeRoom(): void {
    const { start, end, buf } = this;
    if (start > 0) buf.copyWithin(0, start, end);
    this.start = 0;
    this.end = end - start;
    if (this.end < buf.length && !(this.busy && buf.length < busySize)) return;
    const grown = Buffer.allocUnsafeSlow(buf.length * 4);
    buf.copy(grown, 0, 0, this.end);
    this.buf = this.payload.buf = grown;
  }

  /** The protocol header that a connection starts with (spec 4.2.2), or undefined while it is not all there. */
  protocolHeader(): string | undefined {
    if (this.end - this.start < 8) return undefined;
    const header = readLatin1(this.buf, this.start, this.start + 8);
    this.start += 8;
    return header;
  }

  /**
   * Go on to the next frame.
   * @returns false when no whole one is there
   * @throws ProtocolError 501 when it is no frame, or larger than `frameMax`; all that has come is dropped then
   */
  next(frameMax: number): boolean {
    const { buf, start } = this;
    const available = this.end - start;
    if (available < headSize) return false;
    this.type = buf[start]!;
    this.channel = buf.readUInt16BE(start + 1);
    const size = buf.readUInt32BE(start + 3);
    const payload = start + headSize;
    if (size > frameMax) {
      throw this.malformed(payload, payload, `{frame_too_large,${size},${frameMax - 8}}`);
    }
    if (available < headSize + size + 1) return false;
    const last = buf[payload + size];
    if (last !== frame.end) {
      throw this.malformed(payload, payload + size, `{invalid_frame_end_marker,${last}}`);
    }
    if (size < smallest(this.type) || (this.type === frame.heartbeat && size > 0)) {
      throw this.malformed(payload, payload + size, "unknown_frame");
    }
    this.payload.window(payload, payload + size);
    this.start = payload + size + 1;
    return true;
  }

  private malformed(start: number, end: number, what: string): ProtocolError {
    const shown = erlangBytes(this.buf.subarray(start, end));
    this.start = this.end;
    return new ProtocolError("FRAME_ERROR", `type ${this.type}, ${shown}: ${what}`);
  }

  /** What to answer to the current frame when its type may not come now: 505, worded as RabbitMQ does. */
  unexpected(): ProtocolError {
    const { buf, pos, end } = this.payload;
    const shown = erlangBytes(buf.subarray(pos, end));
    return new ProtocolError("UNEXPECTED_FRAME", `type ${this.type}, ${shown}`);
  }
}
