/**
 * Messages on their way out, written by hand rather than by the codec: this is where most bytes pass.
 * @module
 */
import type { Buffer } from "node:buffer";
import { writeMethod } from "../protocol/codec.ts";
import { writeLatin1, writeUint } from "../protocol/fields.ts";
import type { Message } from "./message.ts";
import type { Output } from "../protocol/output.ts";
import { basicClass, frame, methods } from "../protocol/spec.ts";

/** Body frames larger than this are handed to the socket as they are, not copied. */
const copyLimit = 8 * 1024;

/** Copy bytes; a loop beats the call into the runtime for short runs. */
function copy(from: Buffer, start: number, to: Buffer, at: number, length: number): void {
  if (length < 48) { for (let i = 0; i < length; i++) to[at + i] = from[start + i]!; }
  else from.copy(to, at, start, start + length);
}

/** Write basic.deliver with its content. */
export function writeDeliver(
  out: Output,
  channel: number,
  consumerTag: string,
  deliveryTag: number,
  redelivered: boolean,
  message: Message,
  frameMax: number,
): void {
  const size = 4 + 1 + consumerTag.length + 8 + 1 + message.routeSize;
  out.reserve(size + 8);
  const { buf } = out;
  let pos = out.pos;
  buf[pos++] = frame.method;
  buf[pos++] = channel >>> 8;
  buf[pos++] = channel & 0xff;
  pos = buf.writeUInt32BE(size, pos);
  pos = buf.writeUInt32BE(methods["basic.deliver"][0], pos);
  buf[pos++] = consumerTag.length;
  pos += writeLatin1(buf, consumerTag, pos, consumerTag.length);
  pos = buf.writeUInt32BE(Math.floor(deliveryTag / 0x100000000), pos);
  pos = buf.writeUInt32BE(deliveryTag >>> 0, pos);
  buf[pos++] = redelivered ? 1 : 0;
  // Exchange and routing key stand in the message just as the method ends with them.
  copy(message.buf, message.at, buf, pos, message.routeSize);
  pos += message.routeSize;
  buf[pos++] = frame.end;
  out.pos = pos;
  writeContent(out, channel, message, frameMax);
}

/** Write basic.get-ok with its content. */
export function writeGetOk(
  out: Output,
  channel: number,
  deliveryTag: number,
  redelivered: boolean,
  message: Message,
  messageCount: number,
  frameMax: number,
): void {
  writeMethod(out, channel, "basic.get-ok", {
    deliveryTag,
    redelivered,
    exchange: message.exchange,
    routingKey: message.routingKey,
    messageCount,
  });
  writeContent(out, channel, message, frameMax);
}

/** Write basic.return with its content: the message reached no queue (spec 1.8.3.10). */
export function writeReturn(
  out: Output,
  channel: number,
  message: Message,
  frameMax: number,
): void {
  writeMethod(out, channel, "basic.return", {
    replyCode: 312,
    replyText: "NO_ROUTE",
    exchange: message.exchange,
    routingKey: message.routingKey,
  });
  writeContent(out, channel, message, frameMax);
}

/** Content header and body frames (spec 2.3.5.2, 2.3.5.3). */
function writeContent(out: Output, channel: number, message: Message, frameMax: number): void {
  const { propertiesSize, bodySize } = message;
  out.reserve(propertiesSize + 20);
  let { buf, pos } = out;
  buf[pos++] = frame.header;
  buf[pos++] = channel >>> 8;
  buf[pos++] = channel & 0xff;
  pos = buf.writeUInt32BE(propertiesSize + 12, pos);
  pos = buf.writeUInt32BE(basicClass << 16, pos);
  pos = buf.writeUInt32BE(0, pos); // Bodies end long before 2^32.
  pos = buf.writeUInt32BE(bodySize, pos);
  copy(message.buf, message.at + message.routeSize, buf, pos, propertiesSize);
  pos += propertiesSize;
  buf[pos++] = frame.end;
  out.pos = pos;
  const largest = frameMax - 8;
  for (let at = 0; at < bodySize;) {
    const size = Math.min(largest, bodySize - at);
    const start = message.bodyAt + at;
    const external = size > copyLimit;
    out.reserve(8 + (external ? 0 : size));
    ({ buf, pos } = out);
    buf[pos++] = frame.body;
    buf[pos++] = channel >>> 8;
    buf[pos++] = channel & 0xff;
    pos = buf.writeUInt32BE(size, pos);
    if (external) {
      out.pos = pos;
      out.external(message.buf.subarray(start, start + size));
      pos = out.pos;
    } else {
      copy(message.buf, start, buf, pos, size);
      pos += size;
    }
    buf[pos++] = frame.end;
    out.pos = pos;
    at += size;
  }
}

/** Write basic.ack or basic.nack, by which the broker confirms (RabbitMQ "Publisher Confirms"). */
export function writeConfirm(
  out: Output,
  channel: number,
  deliveryTag: number,
  multiple: boolean,
  ack: boolean,
): void {
  if (ack) writeMethod(out, channel, "basic.ack", { deliveryTag, multiple });
  else writeMethod(out, channel, "basic.nack", { deliveryTag, multiple, requeue: true });
}

/** Write a heartbeat frame (spec 4.2.7). */
export function writeHeartbeat(out: Output): void {
  writeUint(out, frame.heartbeat, 1);
  writeUint(out, 0, 2);
  writeUint(out, 0, 4);
  writeUint(out, frame.end, 1);
}
