/**
 * One client connection: bytes to messages to answers, in order.
 * @module
 */
import type { Services } from "../commands/context.ts";
import { CommandError } from "../errors.ts";
import { MAX_MESSAGE } from "../limits.ts";
import { int32At } from "../values/bson_view.ts";
import { dispatch, errorBody, type Peer } from "./dispatch.ts";
import {
  answer,
  HEADER,
  markMoreToCome,
  parseMessage,
  ProtocolError,
  type Request,
} from "./wire.ts";

const READ_SIZE = 64 * 1024;

/**
 * Serve a connection until it ends. Never rejects: what a client does wrong ends its connection, nothing else.
 */
export async function serveConnection(
  conn: Deno.Conn,
  services: Services,
  peer: Peer,
): Promise<void> {
  let buffer = new Uint8Array(READ_SIZE);
  let used = 0;
  try {
    for (;;) {
      // Grows with what has arrived, not with what a header promises.
      if (used === buffer.length) buffer = resized(buffer, used, buffer.length * 2);
      const count = await conn.read(buffer.subarray(used));
      if (count === null) return;
      used += count;
      let at = 0;
      while (used - at >= HEADER) {
        const length = int32At(buffer, at);
        if (length < HEADER || length > MAX_MESSAGE) {
          throw new ProtocolError(`A message length of ${length}`);
        }
        if (used - at < length) break;
        const message = buffer.subarray(at, at + length);
        for await (const reply of replies(message, services, peer)) await writeAll(conn, reply);
        at += length;
      }
      if (at > 0) {
        buffer.copyWithin(0, at, used);
        used -= at;
        if (buffer.length > 1024 * 1024 && used < READ_SIZE) {
          buffer = resized(buffer, used, READ_SIZE);
        }
      }
    }
  } catch {
    // The connection was reset, or the client does not speak the protocol: both end here.
  } finally {
    try {
      conn.close();
    } catch { /* closed by the store's end */ }
  }
}

function resized(buffer: Uint8Array, used: number, size: number): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(size);
  next.set(buffer.subarray(0, used));
  return next;
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

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) at += await conn.write(bytes.subarray(at));
}
