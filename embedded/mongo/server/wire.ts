/**
 * MongoDB's wire protocol: messages in, messages out.
 * https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
 * @module
 */
import { ByteUtils } from "bson";
import { CommandError } from "../errors.ts";
import { decodeValue, type Doc, int32At, sizeOf, validate } from "../values/bson_view.ts";
import { crc32c } from "./crc32c.ts";

/** Bytes of a message header. */
export const HEADER = 16;

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;

const CHECKSUM_PRESENT = 1;
const MORE_TO_COME = 2;
const EXHAUST_ALLOWED = 0x10000;

/** A message that cannot be understood: the connection is closed, as the server does. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

/** One command as it came. */
export interface Request {
  requestId: number;
  /** The legacy handshake, answered in kind. */
  legacy: boolean;
  /** The client wants no answer. */
  silent: boolean;
  /** The client takes several answers to one `getMore`. */
  exhaust: boolean;
  body: Doc;
  /** `documents` of an insert, undecoded but validated, from the body or from a document sequence. */
  documents: Uint8Array[] | undefined;
  /** Bytes of the whole message. */
  size: number;
}

/**
 * Read one whole message.
 * @param bytes exactly the message
 * @throws ProtocolError when the connection cannot go on; CommandError for BSON that is not valid, with
 *   `requestId` in `extra`, which the client gets as an answer
 */
export function parseMessage(bytes: Uint8Array): Request {
  const requestId = int32At(bytes, 4);
  const opCode = int32At(bytes, 12);
  if (opCode === OP_MSG) return parseMsg(bytes, requestId);
  if (opCode === OP_QUERY) return parseQuery(bytes, requestId);
  // OP_COMPRESSED is never negotiated; the other legacy opcodes went with MongoDB 5.1.
  throw new ProtocolError(`Unsupported opcode ${opCode}`);
}

function parseMsg(bytes: Uint8Array, requestId: number): Request {
  if (bytes.length < HEADER + 4 + 1 + 5) throw new ProtocolError("A message without a body");
  const flags = int32At(bytes, HEADER);
  // The first 16 flag bits are required: a receiver that does not know one must refuse the message.
  if (flags & 0xffff & ~(CHECKSUM_PRESENT | MORE_TO_COME)) {
    throw new ProtocolError(`Unknown flag bits ${(flags >>> 0).toString(16)}`);
  }
  let end = bytes.length;
  if (flags & CHECKSUM_PRESENT) {
    end -= 4;
    if (crc32c(bytes, 0, end) !== int32At(bytes, end) >>> 0) {
      throw new ProtocolError("A message whose checksum does not match");
    }
  }
  const request: Request = {
    requestId,
    legacy: false,
    silent: (flags & MORE_TO_COME) !== 0,
    exhaust: (flags & EXHAUST_ALLOWED) !== 0,
    body: {},
    documents: undefined,
    size: bytes.length,
  };
  let hasBody = false;
  let at = HEADER + 4;
  while (at < end) {
    const kind = bytes[at++]!;
    if (kind === 0) {
      if (hasBody) throw new ProtocolError("A message with two bodies");
      hasBody = true;
      const length = checked(bytes, at, end);
      readBody(bytes, at, request);
      at += length;
    } else if (kind === 1) {
      at = readSequence(bytes, at, end, request);
    } else throw new ProtocolError(`Unknown section kind ${kind}`);
  }
  if (!hasBody) throw new ProtocolError("A message without a body");
  return request;
}

function checked(bytes: Uint8Array, at: number, end: number): number {
  try {
    return validate(bytes, at, end);
  } catch (error) {
    if (error instanceof CommandError) error.extra.requestId = int32At(bytes, 4);
    throw error;
  }
}

function readBody(bytes: Uint8Array, start: number, request: Request): void {
  const end = start + int32At(bytes, start) - 1;
  let at = start + 4;
  while (at < end) {
    const type = bytes[at++]!;
    const from = at;
    while (bytes[at] !== 0) at++;
    const name = ByteUtils.toUTF8(bytes, from, at, false);
    at++;
    const size = sizeOf(type, bytes, at);
    if (name === "documents" && type === 0x04) {
      request.documents = rawList(bytes, at) ?? request.documents;
    }
    if (name !== "documents" || !request.documents) {
      request.body[name] = decodeValue(type, bytes, at, at + size);
    }
    at += size;
  }
}

/** The documents of a BSON array, undecoded; undefined when one of them is not a document. */
function rawList(bytes: Uint8Array, start: number): Uint8Array[] | undefined {
  const list: Uint8Array[] = [];
  const end = start + int32At(bytes, start) - 1;
  let at = start + 4;
  while (at < end) {
    if (bytes[at++] !== 0x03) return undefined;
    while (bytes[at] !== 0) at++;
    at++;
    const length = int32At(bytes, at);
    list.push(bytes.subarray(at, at + length));
    at += length;
  }
  return list;
}

function readSequence(bytes: Uint8Array, start: number, limit: number, request: Request): number {
  const size = start + 4 <= limit ? int32At(bytes, start) : 0;
  const end = start + size;
  if (size < 5 || end > limit) throw new ProtocolError("A document sequence of a wrong size");
  let at = start + 4;
  while (at < end && bytes[at] !== 0) at++;
  if (at >= end) throw new ProtocolError("A document sequence without a name");
  const name = ByteUtils.toUTF8(bytes, start + 4, at, false);
  at++;
  const list: Uint8Array[] = [];
  while (at < end) {
    const length = checked(bytes, at, end);
    list.push(bytes.subarray(at, at + length));
    at += length;
  }
  if (name === "documents") request.documents = list;
  else request.body[name] = list.map((doc) => decodeValue(0x03, doc, 0, doc.length));
  return end;
}

function parseQuery(bytes: Uint8Array, requestId: number): Request {
  let at = HEADER + 4;
  while (at < bytes.length && bytes[at] !== 0) at++;
  if (at + 9 >= bytes.length) throw new ProtocolError("A truncated OP_QUERY");
  const namespace = ByteUtils.toUTF8(bytes, HEADER + 4, at, false);
  at += 9;
  const request: Request = {
    requestId,
    legacy: true,
    silent: false,
    exhaust: false,
    body: {},
    documents: undefined,
    size: bytes.length,
  };
  checked(bytes, at, bytes.length);
  readBody(bytes, at, request);
  // Old drivers wrap the command together with a read preference.
  const inner = request.body.$query;
  if (typeof inner === "object" && inner !== null) request.body = { ...inner };
  request.body.$db ??= namespace.split(".")[0];
  return request;
}

let nextRequestId = 1;

function header(
  length: number,
  responseTo: number,
  opCode: number,
): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, length, true);
  view.setInt32(4, nextRequestId = (nextRequestId + 1) & 0x7fffffff, true);
  view.setInt32(8, responseTo, true);
  view.setInt32(12, opCode, true);
  return { bytes, view };
}

/** The message that answers a request with an encoded document. */
export function answer(
  request: Pick<Request, "requestId" | "legacy">,
  body: Uint8Array,
): Uint8Array {
  if (request.legacy) {
    const { bytes, view } = header(HEADER + 20 + body.length, request.requestId, OP_REPLY);
    view.setInt32(HEADER, 8, true); // AwaitCapable
    view.setInt32(HEADER + 16, 1, true);
    bytes.set(body, HEADER + 20);
    return bytes;
  }
  const { bytes } = header(HEADER + 5 + body.length, request.requestId, OP_MSG);
  bytes.set(body, HEADER + 5);
  return bytes;
}

/**
 * Mark an answer as one after which another comes, unasked.
 * @returns the id that the next one answers to
 */
export function markMoreToCome(message: Uint8Array): number {
  message[HEADER]! |= MORE_TO_COME;
  return int32At(message, 4);
}
