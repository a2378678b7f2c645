/**
 * Bodies of requests, of bounded size.
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";

/**
 * Reads the body of a request.
 *
 * @param limit largest size, in bytes
 * @throws {HTTPException} 413 when it is larger
 */
export async function readBody({ req }: Context, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(req.header("content-length")) > limit) throw tooLarge(limit);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  // Not `for await`, which cancels the rest of a body that is too large, and with it the connection before the client has read why.
  const reader = req.raw.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
    size += read.value.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(read.value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function tooLarge(limit: number): HTTPException {
  return new HTTPException(413, { message: `the body is larger than ${limit} bytes` });
}
