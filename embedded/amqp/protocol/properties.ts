/**
 * The properties of class basic (spec 1.8.3): scanned in place on the way through, decoded only when the broker has to
 * change them.
 * @module
 */
import type { Buffer } from "node:buffer";
import {
  type Field,
  type Reader,
  Scratch,
  type Table,
  typeNames,
  writeShortstr,
  writeTable,
  writeUint,
} from "./fields.ts";
import { ProtocolError } from "./errors.ts";
import { skipTable } from "./skip_table.ts";

/** The properties; absent ones are undefined. Strings are binary strings. */
export interface Properties {
  contentType?: string;
  contentEncoding?: string;
  headers?: Table;
  deliveryMode?: number;
  priority?: number;
  correlationId?: string;
  replyTo?: string;
  expiration?: string;
  messageId?: string;
  timestamp?: number | bigint;
  type?: string;
  userId?: string;
  appId?: string;
  clusterId?: string;
}

/** Bit of each property in the flags, in wire order. */
const flags: [keyof Properties, bit: number, type: "shortstr" | "octet" | "table" | "timestamp"][] =
  [
    ["contentType", 15, "shortstr"],
    ["contentEncoding", 14, "shortstr"],
    ["headers", 13, "table"],
    ["deliveryMode", 12, "octet"],
    ["priority", 11, "octet"],
    ["correlationId", 10, "shortstr"],
    ["replyTo", 9, "shortstr"],
    ["expiration", 8, "shortstr"],
    ["messageId", 7, "shortstr"],
    ["timestamp", 6, "timestamp"],
    ["type", 5, "shortstr"],
    ["userId", 4, "shortstr"],
    ["appId", 3, "shortstr"],
    ["clusterId", 2, "shortstr"],
  ];

/** What the broker must know of every message without decoding it all. */
export interface Scan {
  persistent: boolean;
  priority: number;
  expiration: string | undefined;
  replyTo: string | undefined;
  userId: string | undefined;
  /** The headers name CC or BCC (RabbitMQ "Sender-selected Distribution"). */
  copies: boolean;
}

/** Find what `Scan` names in encoded properties, checking that all of them are well-formed. */
export function scanProperties(reader: Reader): Scan {
  const scan: Scan = {
    persistent: false,
    priority: 0,
    expiration: undefined,
    replyTo: undefined,
    userId: undefined,
    copies: false,
  };
  const present = reader.short();
  if (present & 1) throw new ProtocolError("SYNTAX_ERROR", "unknown property flags");
  if (present & 0x8000) skipShortstr(reader);
  if (present & 0x4000) skipShortstr(reader);
  if (present & 0x2000) scan.copies = checkHeaders(reader);
  if (present & 0x1000) scan.persistent = reader.octet() === 2;
  if (present & 0x0800) scan.priority = reader.octet();
  if (present & 0x0400) skipShortstr(reader);
  if (present & 0x0200) scan.replyTo = reader.shortstr();
  if (present & 0x0100) scan.expiration = reader.shortstr();
  if (present & 0x0080) skipShortstr(reader);
  if (present & 0x0040) reader.take(8);
  if (present & 0x0020) skipShortstr(reader);
  if (present & 0x0010) scan.userId = reader.shortstr();
  if (present & 0x0008) skipShortstr(reader);
  if (present & 0x0004) skipShortstr(reader);
  return scan;
}

function skipShortstr(reader: Reader): void {
  reader.take(reader.octet());
}

/** Check the table at the cursor. @returns whether it names CC or BCC; only then it is decoded later */
function checkHeaders(reader: Reader): boolean {
  const { buf } = reader;
  let found = false;
  skipTable(reader, (start, length) => {
    if (length !== 2 && length !== 3) return;
    const name = length === 3 && buf[start] === B ? start + 1 : length === 2 ? start : -1;
    if (name >= 0 && buf[name] === C && buf[name + 1] === C) found = true;
  });
  return found;
}

const B = 0x42, C = 0x43;

/** Decode properties that start at the reader's position. */
export function decodeProperties(reader: Reader): Properties {
  const present = reader.short();
  const properties: Record<string, unknown> = {};
  for (const [name, bit, type] of flags) {
    if (!(present & (1 << bit))) continue;
    properties[name] = type === "shortstr"
      ? reader.shortstr()
      : type === "octet"
      ? reader.octet()
      : type === "table"
      ? reader.table()
      : reader.buf.readBigUInt64BE(reader.take(8));
  }
  return properties as Properties;
}

/** Encode properties, flags first. */
export function encodeProperties(properties: Properties): Buffer {
  const sink = new Scratch();
  let present = 0;
  writeUint(sink, 0, 2);
  for (const [name, bit, type] of flags) {
    const value = properties[name];
    if (value === undefined) continue;
    present |= 1 << bit;
    if (type === "shortstr") writeShortstr(sink, value as string);
    else if (type === "octet") writeUint(sink, value as number, 1);
    else if (type === "table") writeTable(sink, value as Table);
    else {
      sink.reserve(8);
      sink.pos = sink.buf.writeBigUInt64BE(BigInt(value as number | bigint), sink.pos);
    }
  }
  sink.buf.writeUInt16BE(present, 0);
  return sink.done();
}

/** The strings of a header such as CC: an array of long strings; anything else is refused as RabbitMQ does. */
export function headerKeys(headers: Table | undefined, name: "CC" | "BCC"): string[] {
  const field: Field | undefined = headers?.get(name);
  if (field === undefined) return [];
  if (field.t !== "A") {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `invalid message: {unacceptable_type_in_header,"${name}",${typeNames[field.t]}}`,
    );
  }
  return field.v.flatMap((item) => item.t === "S" ? [item.v] : []);
}
