/**
 * Methods to and from bytes, compiled from the table in `spec.ts`.
 * @module
 */
import { Buffer } from "node:buffer";
import { ProtocolError } from "./errors.ts";
import { type Args, frame, type MethodName, methods, type WireTypes } from "./spec.ts";
import {
  type Reader,
  type Sink,
  type Table,
  Truncated,
  writeLongstr,
  writeShortstr,
  writeTable,
  writeUint,
} from "./fields.ts";

type AnyArgs = Record<string, unknown>;

/** A method of the table, ready to decode and encode. */
export interface Method {
  readonly name: MethodName;
  readonly id: number;
  /** @throws ProtocolError 501 when the fields do not fill the reader's window just so */
  decode(reader: Reader): AnyArgs;
  encode(sink: Sink, args: AnyArgs): void;
}

type WireType = Exclude<keyof WireTypes, "bit">;

const readers: Record<WireType, (reader: Reader) => unknown> = {
  octet: (r) => r.octet(),
  short: (r) => r.short(),
  long: (r) => r.long(),
  longlong: (r) => r.longlong(),
  shortstr: (r) => checkUtf8(r.shortstr()),
  longstr: (r) => r.longstr(),
  table: (r) => r.table(),
};

const strict = new TextDecoder("utf-8", { fatal: true });

/** RabbitMQ refuses names that are not UTF-8; routing keys of basic.publish it takes as they come. */
function checkUtf8(bytes: string): string {
  // deno-lint-ignore no-control-regex -- the point is to find what is not ASCII
  if (!/[^\x00-\x7f]/.test(bytes)) return bytes;
  try {
    strict.decode(Buffer.from(bytes, "latin1"));
    return bytes;
  } catch {
    throw new ProtocolError("FRAME_ERROR", "Malformed UTF-8 in shortstr");
  }
}

const writers: Record<WireType, (sink: Sink, value: unknown) => void> = {
  octet: (s, v) => writeUint(s, v as number, 1),
  short: (s, v) => writeUint(s, v as number, 2),
  long: (s, v) => writeUint(s, v as number, 4),
  longlong: (s, v) => writeUint(s, v as number, 8),
  shortstr: (s, v) => writeShortstr(s, v as string),
  longstr: (s, v) => writeLongstr(s, v as string),
  table: (s, v) => writeTable(s, v as Table),
};

function compile(
  name: MethodName,
  id: number,
  fields: Record<string, keyof WireTypes>,
): Method {
  // Each step reads or writes one field, or one octet of up to eight consecutive bits.
  const decoders: ((reader: Reader, args: AnyArgs) => void)[] = [];
  const encoders: ((sink: Sink, args: AnyArgs) => void)[] = [];
  const entries = Object.entries(fields);
  for (let i = 0; i < entries.length;) {
    const [key, type] = entries[i]!;
    if (type !== "bit") {
      const read = type === "shortstr" && name === "basic.publish"
        ? (r: Reader) => r.shortstr()
        : readers[type];
      const write = writers[type];
      decoders.push((reader, args) => args[key] = read(reader));
      encoders.push((sink, args) => write(sink, args[key]));
      i++;
      continue;
    }
    const keys: string[] = [];
    while (i < entries.length && keys.length < 8 && entries[i]![1] === "bit") {
      keys.push(entries[i++]![0]);
    }
    decoders.push((reader, args) => {
      const bits = reader.octet();
      for (let bit = 0; bit < keys.length; bit++) args[keys[bit]!] = (bits & (1 << bit)) !== 0;
    });
    encoders.push((sink, args) => {
      let bits = 0;
      for (let bit = 0; bit < keys.length; bit++) if (args[keys[bit]!]) bits |= 1 << bit;
      writeUint(sink, bits, 1);
    });
  }
  return {
    name,
    id,
    decode(reader) {
      const start = reader.pos;
      const args: AnyArgs = {};
      try {
        for (let i = 0; i < decoders.length; i++) decoders[i]!(reader, args);
      } catch (error) {
        throw error instanceof Truncated ? undecodable(reader, start) : error;
      }
      if (reader.pos !== reader.end) throw undecodable(reader, start);
      return args;
    },
    encode(sink, args) {
      for (let i = 0; i < encoders.length; i++) encoders[i]!(sink, args);
    },
  };
}

/** Too few or too many octets for the fields of the method, worded as RabbitMQ does. */
function undecodable({ buf, end }: Reader, start: number): ProtocolError {
  // A reply text holds 255 octets.
  const shown = [...buf.subarray(start, Math.min(end, start + 255))].join(",");
  return new ProtocolError("FRAME_ERROR", `cannot decode <<${shown}>>`);
}

const byName = new Map<string, Method>();
const byId = new Map<number, Method>();
for (const [name, [id, fields]] of Object.entries(methods)) {
  const method = compile(name as MethodName, id, fields);
  byName.set(name, method);
  byId.set(id, method);
}

/** The method with this `class * 65536 + method`, if there is one. */
export function methodById(id: number): Method | undefined {
  return byId.get(id);
}

/** `class * 65536 + method` of a method. */
export function methodId(name: MethodName): number {
  return methods[name][0];
}

/** Write a whole method frame. */
export function writeMethod<N extends MethodName>(
  sink: Sink,
  channel: number,
  name: N,
  args: Args<N>,
): void {
  const method = byName.get(name)!;
  const start = sink.pos;
  startFrame(sink, frame.method, channel);
  writeUint(sink, method.id, 4);
  method.encode(sink, args as AnyArgs);
  sink.reserve(1);
  sink.buf.writeUInt32BE(sink.pos - start - 7, start + 3);
  sink.buf[sink.pos++] = frame.end;
}

/** Write the first seven octets of a frame, its size still to be filled in. */
function startFrame(sink: Sink, type: number, channel: number): void {
  sink.reserve(7);
  const { buf, pos } = sink;
  buf[pos] = type;
  buf[pos + 1] = channel >>> 8;
  buf[pos + 2] = channel & 0xff;
  sink.pos = pos + 7;
}
