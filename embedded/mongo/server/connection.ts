/**
 * One client connection: bytes to messages to answers, in order.
 * @module
 */
import type { Services } from "../commands/context.ts";
import { CommandError } from "../errors.ts";
import { MAX_MESSAGE } from "../limits.ts";
import { int32At } from "../values/bson_view.ts";
import { dispatch, errorBody, type Peer } from "./dispatch.ts";
import type { HeldBytes } from "./held_bytes.ts";
import {
  answer,
  HEADER,
  markMoreToCome,
  parseMessage,
  ProtocolError,
  type Request,
} from "./wire.ts";

const READ_SIZE = 64 * 1024;
/** Buffers above this size are let go when they are empty. */
const KEPT_SIZE = 1024 * 1024;
/** Largest message of a client that has to log in and has not. */
const MAX_BEFORE_LOGIN = 64 * 1024;
/** Milliseconds that a client may leave a message half sent, or a large answer unread. */
const STALL = 60_000;

/**
 * Serve a connection until it ends. Never rejects: what a client does wrong ends its connection, nothing else.
 * @param held counts what connections hold
 */
export async function serveConnection(
  conn: Deno.Conn,
  services: Services,
  peer: Peer,
  held: HeldBytes,
): Promise<void> {
  let buffer = new Uint8Array(READ_SIZE);
  let used = 0;
  const resize = (size: number) => {
    if (size > buffer.length && !held.take(size - buffer.length)) {
      throw new ProtocolError("Too many bytes are held for clients");
    }
    if (size < buffer.length) held.give(buffer.length - size);
    const next = new Uint8Array(size);
    next.set(buffer.subarray(0, used));
    buffer = next;
  };
  try {
    for (;;) {
      // Grows with what has arrived, not with what a header promises.
      if (used === buffer.length) resize(buffer.length * 2);
      const reading = conn.read(buffer.subarray(used));
      const count = await (buffer.length > READ_SIZE ? unlessStalled(conn, reading) : reading);
      if (count === null) return;
      used += count;
      let at = 0;
      while (used - at >= HEADER) {
        const length = int32At(buffer, at);
        checkLength(length, peer);
        if (used - at < length) break;
        const message = buffer.subarray(at, at + length);
        for await (const reply of replies(message, services, peer)) {
          await writeAll(conn, reply, held);
        }
        at += length;
      }
      if (at > 0) {
        buffer.copyWithin(0, at, used);
        used -= at;
        if (buffer.length > KEPT_SIZE && used < READ_SIZE) resize(READ_SIZE);
      }
    }
  } catch {
    // The connection was reset, or the client does not speak the protocol: both end here.
  } finally {
    held.give(buffer.length - READ_SIZE);
    close(conn);
  }
}

function checkLength(length: number, { login }: Peer): void {
  const most = login && !login.done ? MAX_BEFORE_LOGIN : MAX_MESSAGE;
  if (length < HEADER || length > most) throw new ProtocolError(`A message length of ${length}`);
}

/** Close the connection when it makes no progress; what waits for it is rejected then. */
async function unlessStalled<T>(conn: Deno.Conn, progress: Promise<T>): Promise<T> {
  const timer = setTimeout(() => close(conn), STALL);
  try {
    return await progress;
  } finally {
    clearTimeout(timer);
  }
}

/** The answers to a message: one, or none when none is wanted, or those of an exhaust cursor as long as it has more. */
async function* replies(
  message: Uint8Array,
  services: Services,
  peer: Peer,
): AsyncGenerator<Uint8Array, void> {
  let request: Request;
  try {
    request = parseMessage(message);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const requestId = Number(error.extra.requestId ?? int32At(message, 4));
    yield answer({ requestId, legacy: false }, errorBody(error));
    return;
  }
  for (;;) {
    const reply = await dispatch(services, request, peer);
    if (!reply) return;
    const { getMore } = request.body;
    const more = request.exhaust && typeof getMore === "bigint" && services.cursors.has(getMore);
    if (more) request.requestId = markMoreToCome(reply);
    yield reply;
    if (!more) return;
  }
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array, held: HeldBytes): Promise<void> {
  const large = bytes.length > READ_SIZE;
  if (large && !held.take(bytes.length)) {
    throw new ProtocolError("Too many bytes are held for clients");
  }
  try {
    for (let at = 0; at < bytes.length;) {
      const writing = conn.write(bytes.subarray(at));
      at += await (large ? unlessStalled(conn, writing) : writing);
    }
  } finally {
    if (large) held.give(bytes.length);
  }
}

/** Close a connection, which may have ended by itself or with the store. */
export function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch { /* it is closed */ }
}
