/**
 * What the end of a socket looks like, and how a broken frame is shown to people.
 * @module
 */
import type { Buffer } from "node:buffer";
import { readLatin1 } from "../protocol/fields.ts";

/** Whether an error only says that the connection is gone. */
export function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.TimedOut || error instanceof Deno.errors.NotConnected;
}

/** The first 16 bytes of a payload as RabbitMQ prints them. */
export function snippet(payload: Buffer): string {
  const part = payload.subarray(0, 16);
  const text = readLatin1(part);
  const shown = part.length === 0
    ? "<<>>"
    : /^[\x20-\x7e]*$/.test(text)
    ? `<<"${text}">>`
    : `<<${[...part].join(",")}>>`;
  return `${payload.length <= 16 ? "all" : "first 16"} octets = ${shown}`;
}
