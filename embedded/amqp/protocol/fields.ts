/**
 * Reading and writing the primitive types of AMQP 0-9-1, field tables included.
 *
 * Strings are *binary strings*, one character per byte: names and keys are compared and sent back exactly as
 * they came, valid UTF-8 or not. The field types are those RabbitMQ really uses ("AMQP 0-9-1 errata", section 3),
 * which differ from the specification's grammar.
 * @module
 */
import { Buffer } from "node:buffer";
import { ProtocolError } from "./errors.ts";

/** A value of a field table with the type tag it has on the wire. */
export type Field =
  | { t: "S" | "x"; v: string }
  | { t: "t"; v: boolean }
  | { t: "b" | "B" | "s" | "u" | "I" | "i" | "f" | "d"; v: number }
  | { t: "l" | "T"; v: number | bigint }
  | { t: "D"; v: [scale: number, value: number] }
  | { t: "F"; v: Table }
  | { t: "A"; v: Field[] }
  | { t: "V"; v: null };

/** A field table; the order of the keys is kept. */
export type Table = Map<string, Field>;

/** RabbitMQ's names of the types, as its error texts use them. */
export const typeNames: Record<Field["t"], string> = {
  S: "longstr",
  x: "binary",
  t: "bool",
  b: "byte",
  B: "unsignedbyte",
  s: "short",
  u: "unsignedshort",
  I: "signedint",
  i: "unsignedint",
  f: "float",
  d: "double",
  l: "long",
  T: "timestamp",
  D: "decimal",
  F: "table",
  A: "array",
  V: "void",
};

/** Tables nested deeper are refused, so that no client can exhaust the stack. */
const maxDepth = 100;

/** What to throw for a type tag that RabbitMQ does not know. */
export function unknownType(tag: string): ProtocolError {
  return new ProtocolError("SYNTAX_ERROR", `unknown field type ${JSON.stringify(tag)}`);
}

/** A field that its frame does not hold to the end. */
export class Truncated extends ProtocolError {
  constructor() {
    super("SYNTAX_ERROR", "field exceeds its frame");
  }
}

/** Bytes as a binary string; for short ones a loop beats the call into the runtime. */
export function readLatin1(buf: Buffer, start = 0, end = buf.length): string {
  if (end - start > 24) return buf.toString("latin1", start, end);
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(buf[i]!);
  return text;
}

/** Write the first `length` characters of a binary string. @returns `length` */
export function writeLatin1(buf: Buffer, text: string, pos: number, length = text.length): number {
  if (length > 48) buf.write(text, pos, length, "latin1");
  else for (let i = 0; i < length; i++) buf[pos + i] = text.charCodeAt(i);
  return length;
}

/** A cursor over received bytes. Reading past `end` throws a SYNTAX_ERROR. */
export class Reader {
  pos = 0;
  end = 0;
  depth = 0;

  constructor(public buf: Buffer) {}

  /** Look at `[start, end)` of the buffer. */
  window(start: number, end: number): this {
    this.pos = start;
    this.end = end;
    this.depth = 0;
    return this;
  }

  take(length: number): number {
    const at = this.pos;
    if (length > this.end - at) throw new Truncated();
    this.pos = at + length;
    return at;
  }

  octet(): number {
    return this.buf[this.take(1)]!;
  }

  short(): number {
    return this.buf.readUInt16BE(this.take(2));
  }

  long(): number {
    return this.buf.readUInt32BE(this.take(4));
  }

  /** Exact up to 2^53; delivery tags and sizes never come near. */
  longlong(): number {
    const at = this.take(8);
    return this.buf.readUInt32BE(at) * 0x100000000 + this.buf.readUInt32BE(at + 4);
  }

  shortstr(): string {
    const length = this.octet();
    const at = this.take(length);
    return readLatin1(this.buf, at, at + length);
  }

  longstr(): string {
    const length = this.long();
    const at = this.take(length);
    return readLatin1(this.buf, at, at + length);
  }

  table(): Table {
    const end = this.enter();
    const table: Table = new Map();
    while (this.pos < end) table.set(this.shortstr(), this.field());
    this.leave(end);
    return table;
  }

  array(): Field[] {
    const end = this.enter();
    const items: Field[] = [];
    while (this.pos < end) items.push(this.field());
    this.leave(end);
    return items;
  }

  /** Begin a table or an array. @returns where it ends */
  enter(): number {
    if (++this.depth > maxDepth) {
      throw new ProtocolError("SYNTAX_ERROR", `table nested deeper than ${maxDepth}`);
    }
    const length = this.long();
    if (length > this.end - this.pos) throw new Truncated();
    return this.pos + length;
  }

  /** End a table or an array, which must be read to its end. */
  leave(end: number): void {
    if (this.pos !== end) throw new Truncated();
    this.depth--;
  }

  field(): Field {
    const tag = String.fromCharCode(this.octet());
    switch (tag) {
      case "S":
      case "x":
        return { t: tag, v: this.longstr() };
      case "t":
        return { t: "t", v: this.octet() !== 0 };
      case "b":
        return { t: "b", v: this.buf.readInt8(this.take(1)) };
      case "B":
        return { t: "B", v: this.octet() };
      case "s":
        return { t: "s", v: this.buf.readInt16BE(this.take(2)) };
      case "u":
        return { t: "u", v: this.short() };
      case "I":
        return { t: "I", v: this.buf.readInt32BE(this.take(4)) };
      case "i":
        return { t: "i", v: this.long() };
      case "l":
      case "L":
        return { t: "l", v: exact(this.buf.readBigInt64BE(this.take(8))) };
      case "T":
        return { t: "T", v: exact(this.buf.readBigUInt64BE(this.take(8))) };
      case "f":
        return { t: "f", v: finite(this.buf.readFloatBE(this.take(4))) };
      case "d":
        return { t: "d", v: finite(this.buf.readDoubleBE(this.take(8))) };
      case "D":
        return { t: "D", v: [this.octet(), this.long()] };
      case "F":
        return { t: "F", v: this.table() };
      case "A":
        return { t: "A", v: this.array() };
      case "V":
        return { t: "V", v: null };
      default:
        throw unknownType(tag);
    }
  }
}

/** Check a floating-point value: Erlang knows no NaN and no infinity. @throws ProtocolError 502 */
export function finite(value: number): number {
  if (Number.isFinite(value)) return value;
  throw new ProtocolError("SYNTAX_ERROR", `${value} is no number`);
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Where bytes are written: a growing buffer, or a connection's output. */
export interface Sink {
  buf: Buffer;
  pos: number;
  /** Make room for `length` more bytes; `buf` and `pos` may change. */
  reserve(length: number): void;
}

/** A sink that grows, for what is encoded outside a connection. */
export class Scratch implements Sink {
  buf: Buffer = Buffer.allocUnsafeSlow(256);
  pos = 0;

  reserve(length: number): void {
    if (this.pos + length <= this.buf.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buf.length * 2, this.pos + length));
    grown.set(this.buf.subarray(0, this.pos));
    this.buf = grown;
  }

  /** A copy of what was written, which is then forgotten. */
  done(): Buffer {
    const copy = Buffer.from(this.buf.subarray(0, this.pos));
    this.pos = 0;
    return copy;
  }
}

/** Write an unsigned integer of `size` bytes (8: up to 2^53). */
export function writeUint(sink: Sink, value: number, size: 1 | 2 | 4 | 8): void {
  sink.reserve(size);
  const { buf, pos } = sink;
  if (size === 1) buf[pos] = value;
  else if (size === 2) buf.writeUInt16BE(value & 0xffff, pos);
  else if (size === 4) buf.writeUInt32BE(value >>> 0, pos);
  else {
    buf.writeUInt32BE(Math.floor(value / 0x100000000), pos);
    buf.writeUInt32BE(value % 0x100000000, pos + 4);
  }
  sink.pos = pos + size;
}

/** Write a short string; what exceeds 255 bytes is cut. */
export function writeShortstr(sink: Sink, value: string): void {
  const length = Math.min(value.length, 255);
  sink.reserve(length + 1);
  sink.buf[sink.pos++] = length;
  sink.pos += writeLatin1(sink.buf, value, sink.pos, length);
}

/** Write a long string. */
export function writeLongstr(sink: Sink, value: string): void {
  writeUint(sink, value.length, 4);
  sink.reserve(value.length);
  sink.pos += writeLatin1(sink.buf, value, sink.pos, value.length);
}

/** Write a field table with its length. */
export function writeTable(sink: Sink, table: Table): void {
  const start = sink.pos;
  writeUint(sink, 0, 4);
  for (const [key, field] of table) {
    writeShortstr(sink, key);
    writeField(sink, field);
  }
  sink.buf.writeUInt32BE(sink.pos - start - 4, start);
}

function writeField(sink: Sink, field: Field): void {
  writeUint(sink, field.t.charCodeAt(0), 1);
  sink.reserve(8);
  const { buf, pos } = sink;
  switch (field.t) {
    case "S":
    case "x":
      return writeLongstr(sink, field.v);
    case "t":
      return writeUint(sink, field.v ? 1 : 0, 1);
    case "b":
    case "B":
      return writeUint(sink, field.v & 0xff, 1);
    case "s":
    case "u":
      return writeUint(sink, field.v, 2);
    case "I":
    case "i":
      return writeUint(sink, field.v, 4);
    case "l":
      sink.pos = buf.writeBigInt64BE(BigInt(field.v), pos);
      return;
    case "T":
      sink.pos = buf.writeBigUInt64BE(BigInt(field.v), pos);
      return;
    case "f":
      sink.pos = buf.writeFloatBE(field.v, pos);
      return;
    case "d":
      sink.pos = buf.writeDoubleBE(field.v, pos);
      return;
    case "D":
      writeUint(sink, field.v[0], 1);
      return writeUint(sink, field.v[1], 4);
    case "F":
      return writeTable(sink, field.v);
    case "A": {
      writeUint(sink, 0, 4);
      for (const item of field.v) writeField(sink, item);
      sink.buf.writeUInt32BE(sink.pos - pos - 4, pos);
      return;
    }
    case "V":
      return;
  }
}

/** A table's bytes as a binary string: equal tables (keys in the same order) have equal strings. */
export function tableBytes(table: Table): string {
  const scratch = new Scratch();
  writeTable(scratch, table);
  return readLatin1(scratch.buf, 0, scratch.pos);
}

/** The table that `tableBytes()` made these bytes of. */
export function tableOf(bytes: string): Table {
  const buf = Buffer.from(bytes, "latin1");
  return new Reader(buf).window(0, buf.length).table();
}

/** A table of JavaScript strings, booleans and nested objects of them, for what the broker itself announces. */
export function toTable(object: Record<string, unknown>): Table {
  return new Map(
    Object.entries(object).map(([key, value]): [string, Field] => [
      key,
      typeof value === "boolean"
        ? { t: "t", v: value }
        : typeof value === "object"
        ? { t: "F", v: toTable(value as Record<string, unknown>) }
        : { t: "S", v: toBytes(String(value)) },
    ]),
  );
}

/** A JavaScript string as a binary string of its UTF-8 bytes. */
export function toBytes(text: string): string {
  return readLatin1(Buffer.from(text, "utf8"));
}

/** A binary string read as UTF-8, for people. */
export function toText(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
