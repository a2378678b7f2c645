/**
 * The assembly of a published message from its frames.
 * @module
 */
import type { Reader } from "../protocol/fields.ts";
import { allocate, makeBuffer, Message, type Run, writeRoute } from "./message.ts";
import { headerKeys, type Properties, scanProperties } from "../protocol/properties.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { basicClass } from "../protocol/spec.ts";

/** Room made at first for a large body: a size that is only announced must not cost memory. */
const firstRoom = 64 * 1024;

/** What a published message asks for beyond its bytes. */
export interface Demands {
  replyTo: string | undefined;
  userId: string | undefined;
  expiration: string | undefined;
}

/** A message under assembly: method seen, header and body to come. */
export class Content {
  private run: Run | undefined;
  private routeSize: number;
  private propertiesSize = 0;
  private bodySize = 0;
  private received = 0;
  private maxSize = 0;
  private scan: ReturnType<typeof scanProperties> | undefined;

  constructor(
    readonly exchange: string,
    readonly routingKey: string,
    readonly mandatory: boolean,
  ) {
    this.routeSize = exchange.length + routingKey.length + 2;
  }

  get headerSeen(): boolean {
    return this.scan !== undefined;
  }

  get complete(): boolean {
    return this.scan !== undefined && this.received === this.bodySize;
  }

  /** Take a content header frame's payload. @throws ProtocolError 505 for another class */
  header(reader: Reader, maxSize: number): void {
    const classId = reader.short();
    reader.short();
    if (classId !== basicClass) {
      throw new ProtocolError(
        "UNEXPECTED_FRAME",
        `expected content header for class 60, got one for class ${classId} instead`,
      );
    }
    this.bodySize = reader.longlong();
    const start = reader.pos;
    this.propertiesSize = reader.end - start;
    this.scan = scanWhole(reader);
    this.maxSize = maxSize;
    if (this.bodySize > maxSize) return;
    const head = this.routeSize + this.propertiesSize;
    this.run = allocate(head + Math.min(this.bodySize, firstRoom));
    writeRoute(this.run, this.exchange, this.routingKey);
    reader.buf.copy(this.run.buf, this.run.at + this.routeSize, start, reader.end);
  }

  /** Take a content body frame's payload. @throws ProtocolError 505 when it exceeds the announced size */
  body(reader: Reader): void {
    const size = reader.end - reader.pos;
    if (this.received + size > this.bodySize) {
      throw new ProtocolError(
        "UNEXPECTED_FRAME",
        "expected content body, got more of it than announced",
      );
    }
    this.received += size;
    // Nothing is kept of a body that is too large.
    const { run } = this;
    if (!run) return;
    const at = run.at + this.routeSize + this.propertiesSize + this.received - size;
    if (at + size > run.buf.length) {
      const whole = this.routeSize + this.propertiesSize + this.bodySize;
      const grown = makeBuffer(Math.min(whole, (at + size) * 2));
      run.buf.copy(grown, 0, 0, at);
      run.buf = grown;
    }
    reader.buf.copy(run.buf, at, reader.pos, reader.end);
  }

  /**
   * The complete message, and what it asks for.
   *
   * @throws ProtocolError 406 for too large a body. As RabbitMQ, not before all of it has come: a client that is told earlier may open the channel
   * again before its close-ok has left, which waits behind the body.
   */
  finish(): { message: Message; demands: Demands } {
    if (this.bodySize > this.maxSize) {
      throw new ProtocolError(
        "PRECONDITION_FAILED",
        `message size ${this.bodySize} is larger than configured max size ${this.maxSize}`,
      );
    }
    const scan = this.scan!;
    let message = this.make(scan.expiration, []);
    if (scan.copies) message = this.withCopies(message);
    return { message, demands: scan };
  }

  private make(expiration: string | undefined, copies: readonly string[]): Message {
    const { run, scan } = this;
    return new Message(
      run!.buf,
      run!.at,
      this.routeSize,
      this.propertiesSize,
      this.bodySize,
      this.exchange,
      this.routingKey,
      scan!.persistent,
      scan!.priority,
      expiration === undefined ? -1 : Number(expiration),
      copies,
    );
  }

  /** CC and BCC name further routing keys; BCC is taken out before delivery. */
  private withCopies(message: Message): Message {
    const properties: Properties = message.properties();
    const { headers } = properties;
    const copies = [...headerKeys(headers, "CC"), ...headerKeys(headers, "BCC")];
    if (!headers?.has("BCC")) return this.make(properties.expiration, copies);
    headers.delete("BCC");
    return message.derive(this.exchange, [this.routingKey, ...copies], properties);
  }
}

/** Check properties that end with the reader. @throws ProtocolError 541, as RabbitMQ, which does not say why */
function scanWhole(reader: Reader): ReturnType<typeof scanProperties> {
  try {
    const scan = scanProperties(reader);
    if (reader.pos === reader.end) return scan;
    throw new ProtocolError("SYNTAX_ERROR", "properties longer than their flags say");
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError("INTERNAL_ERROR", `malformed properties: ${error.explanation}`);
  }
}

/** The milliseconds of an expiration property. @throws ProtocolError 406, worded as RabbitMQ does. */
export function checkExpiration(expiration: string): void {
  const fail = (reason: string): never => {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid expiration '${expiration}': ${reason}`,
    );
  };
  const [, digits, rest] = /^([+-]?\d+)(.*)$/s.exec(expiration) ?? fail("no_integer");
  if (rest) fail(`{leftover_string,"${rest}"}`);
  if (Number(digits) < 0) fail(`{value_negative,${Number(digits)}}`);
  if (Number(digits) > 315_360_000_000) fail(`{value_too_large,${digits}}`);
}

/** The message with another reply-to: direct reply-to puts the channel's own address in. */
export function withReplyTo(message: Message, replyTo: string): Message {
  return message.derive(message.exchange, [message.routingKey, ...message.copies], {
    ...message.properties(),
    replyTo,
  });
}
