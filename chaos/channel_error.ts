/**
 * Channel errors: a relay that slips in an acknowledgement of a message that was never delivered, upon which the broker closes the channel
 * with 406 (https://www.rabbitmq.com/docs/confirms#consumer-acks-double-acking).
 * @module
 */
import type { Passage } from "../lib/testing.ts";

/** What an AMQP connection goes through. */
export interface ChannelErrors {
  /** Breaks the next channel on which the client publishes or acknowledges. */
  next(): void;
  /** How many were broken. */
  readonly count: number;
  /** Makes the passage of a connection. */
  passage: () => Passage;
}

/** AMQP 0-9-1: seven bytes of header (type, channel, size), the payload, an end byte. */
const FRAME_OVERHEAD = 8;
const METHOD = 1;
/** basic.publish, basic.ack, basic.nack: what begins on a channel in use, never in the middle of a message. */
const IN_USE = [60 << 16 | 40, 60 << 16 | 80, 60 << 16 | 120];

/** Makes passages that break channels when told to. */
export function channelErrors(): ChannelErrors {
  let wanted = 0;
  let count = 0;

  function passage(): Passage {
    let rest = new Uint8Array();
    let greeted = false;
    return new TransformStream({
      transform(chunk, out) {
        const bytes = new Uint8Array(rest.length + chunk.length);
        bytes.set(rest);
        bytes.set(chunk, rest.length);
        rest = bytes;
        if (!greeted) {
          if (rest.length < 8) return;
          out.enqueue(rest.subarray(0, 8)); // "AMQP" and the version
          rest = rest.subarray(8);
          greeted = true;
        }
        while (rest.length >= FRAME_OVERHEAD) {
          const view = new DataView(rest.buffer, rest.byteOffset);
          const end = FRAME_OVERHEAD + view.getUint32(3);
          if (rest.length < end) break;
          const isMethod = view.getUint8(0) === METHOD && end >= FRAME_OVERHEAD + 4;
          if (wanted > 0 && isMethod && IN_USE.includes(view.getUint32(7))) {
            wanted--;
            count++;
            out.enqueue(unknownAck(view.getUint16(1)));
          }
          out.enqueue(rest.slice(0, end));
          rest = rest.subarray(end);
        }
      },
    });
  }
  return {
    next() {
      wanted = 1;
    },
    get count() {
      return count;
    },
    passage,
  };
}

function unknownAck(channel: number): Uint8Array {
  const frame = new Uint8Array(FRAME_OVERHEAD + 13);
  const view = new DataView(frame.buffer);
  view.setUint8(0, METHOD);
  view.setUint16(1, channel);
  view.setUint32(3, 13);
  view.setUint32(7, 60 << 16 | 80);
  view.setBigUint64(11, 1n << 40n);
  frame[frame.length - 1] = 0xce;
  return frame;
}
