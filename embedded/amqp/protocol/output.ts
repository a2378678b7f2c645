/**
 * What a connection has still to send: written synchronously, sent in few large writes.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Sink } from "./fields.ts";

const firstSize = 4 * 1024;
/** Buffers up to this size are used again, larger ones are left to the garbage collector. */
const keepSize = 512 * 1024;

/** The part of `Deno.Conn` that output needs. */
export interface Writable {
  write(data: Uint8Array): Promise<number>;
}

/**
 * Bytes are collected in `buf`, bodies too large to copy are put between as they are, and `flush()` hands everything to
 * the socket; while that is being written the next bytes collect. Positions in `buf` stay valid until a flush.
 */
export class Output implements Sink {
  buf: Buffer = Buffer.allocUnsafeSlow(firstSize);
  pos = 0;
  /** Bytes sent, for heartbeats and statistics. */
  sent = 0;
  private sealed = 0;
  private segments: Uint8Array[] = [];
  private segmentBytes = 0;
  private inFlight = 0;
  private spare: Buffer | undefined;
  private writing = false;
  private failed = false;
  private finished: (() => void) | undefined;

  /**
   * @param conn Where to write.
   * @param idle Called when a write is done, so that what has collected can be flushed and senders resumed.
   */
  constructor(private readonly conn: Writable, private readonly idle: () => void) {}

  /** Bytes written here that the socket has not yet taken. */
  get unsent(): number {
    return this.inFlight + this.segmentBytes + this.pos - this.sealed;
  }

  reserve(length: number): void {
    if (this.pos + length <= this.buf.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buf.length * 2, this.pos + length));
    grown.set(this.buf.subarray(this.sealed, this.pos), this.sealed);
    this.buf = grown;
  }

  /** Put bytes that will not change between what was written so far and what comes next. */
  external(bytes: Uint8Array): void {
    this.seal();
    this.segments.push(bytes);
    this.segmentBytes += bytes.length;
  }

  private seal(): void {
    if (this.pos === this.sealed) return;
    this.segments.push(this.buf.subarray(this.sealed, this.pos));
    this.segmentBytes += this.pos - this.sealed;
    this.sealed = this.pos;
  }

  /** Hand what was written to the socket. Does nothing while a write is under way: `idle` is called after it. */
  flush(): void {
    if (this.writing || this.failed || this.unsent === 0) return;
    this.writing = true;
    void this.send();
  }

  /** Forget what was written and not yet handed to the socket. */
  discard(): void {
    this.segments = [];
    this.segmentBytes = this.sealed = this.pos = 0;
  }

  private async send(): Promise<void> {
    this.seal();
    const { segments, buf } = this;
    this.inFlight = this.segmentBytes;
    this.segments = [];
    this.segmentBytes = this.sealed = this.pos = 0;
    this.buf = this.spare ?? Buffer.allocUnsafeSlow(firstSize);
    this.spare = undefined;
    try {
      for (const segment of segments) {
        for (let at = 0; at < segment.length;) {
          const written = await this.conn.write(at === 0 ? segment : segment.subarray(at));
          at += written;
          this.sent += written;
          this.inFlight -= written;
        }
      }
      if (buf.length <= keepSize) this.spare = buf;
    } catch {
      // The reading side sees the same broken connection and cleans up.
      this.failed = true;
      this.inFlight = 0;
    }
    this.writing = false;
    if (this.finished && this.unsent === 0) this.finished();
    else if (this.finished) this.flush();
    else this.idle();
  }

  /** Send the rest, then call `done` once; also when it cannot be sent within `patience` milliseconds. */
  finish(done: () => void, patience: number): void {
    if (this.unsent === 0 || this.failed) return done();
    const timer = setTimeout(() => this.finished?.(), patience);
    this.finished = () => {
      clearTimeout(timer);
      this.finished = () => {};
      done();
    };
    this.flush();
  }
}
