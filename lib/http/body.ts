/**
 * Bodies of requests, of bounded size.
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";

/** Bytes beyond its limit that a body is read for nothing: many clients read no answer before they have sent all. */
const DISCARDED = 16 * 2 ** 20;

/**
 * Reads the body of a request.
 *
 * @param limit largest size, in bytes
 * @throws {HTTPException} 413 when it is larger
 */
export async function readBody({ req }: Context, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  let chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  // Not `for await`: leaving it would cancel the rest, and with it the connection that the answer goes to.
  const reader = req.raw.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
    size += read.value.length;
    if (size > limit + DISCARDED) break;
    if (size > limit) chunks = [];
    else chunks.push(read.value);
  }
  if (size <= limit) return new Uint8Array(await new Blob(chunks).arrayBuffer());
  throw new HTTPException(413, { message: `the body is larger than ${limit} bytes` });
}
