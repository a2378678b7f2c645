/**
 * Headers that are nested so deeply that amqplib has no stack to read them: RabbitMQ passes on tables of 20,000 levels.
 * @module
 */
import { Buffer } from "node:buffer";
import type { ChannelModel } from "amqplib";

/** The header that a message has in place of all its own where they could not be read. */
export const UNREADABLE = "x-unreadable-headers";

/** Type of a frame with a message's properties (AMQP 0-9-1, 2.3.5.2). */
const CONTENT_HEADER = 2;

/** Has a connection survive such headers, where amqplib would end it, whenever the message is delivered again. */
export function surviveDeepHeaders(model: ChannelModel): void {
  const connection = model.connection as unknown as { rest: Buffer; recvFrame(): unknown };
  const receive = connection.recvFrame.bind(connection);
  connection.recvFrame = () => {
    const { rest: frame } = connection;
    try {
      return receive();
    } catch (error) {
      const deep = error instanceof RangeError && /call stack/.test(error.message);
      if (!deep || frame[0] !== CONTENT_HEADER) throw error;
      connection.rest = Buffer.concat([withoutHeaders(frame), connection.rest]); // it is behind the frame
      return receive();
    }
  };
}

/** A frame with {@linkcode UNREADABLE} in place of the headers (AMQP 0-9-1, 4.2.6.1, and the order of class basic's properties). */
export function withoutHeaders(frame: Buffer): Buffer {
  const payload = frame.subarray(7, 7 + frame.readUInt32BE(3));
  const flags = payload.readUInt16BE(12);
  let at = 14;
  for (const before of [0x8000, 0x4000]) { // content-type, content-encoding
    if (flags & before) at += 1 + payload[at]!;
  }
  const behind = at + 4 + payload.readUInt32BE(at);
  const field = [UNREADABLE.length, ...Buffer.from(UNREADABLE), "t".charCodeAt(0), 1];
  const parts = [payload.subarray(0, at), uint32(field.length), field, payload.subarray(behind)];
  const changed = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  return Buffer.concat([frame.subarray(0, 3), uint32(changed.length), changed, Buffer.of(0xce)]);
}

function uint32(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}
