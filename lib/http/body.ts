/**
 * Bodies of requests: JSON of bounded size.
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { parseExactly } from "../json.ts";
import { printable } from "../text.ts";

/** Bytes beyond its limit that a body is read for nothing: many clients read no answer before they have sent all. */
const DISCARDED = 16 * 2 ** 20;

/** Which bodies are read. */
export interface BodyOptions {
  /** Largest size, in bytes. */
  limit: number;
  /** Content types that are taken for JSON besides JSON's own. */
  alsoTypes?: readonly string[];
}

/**
 * Reads the body of a request as JSON, its numbers as they were written; undefined when there is none.
 *
 * @throws {HTTPException} 413 when it is larger than `limit`, 415 for another content type or encoding, 400 when it is no JSON
 */
export async function readJson(
  context: Context,
  { limit, alsoTypes = [] }: BodyOptions,
): Promise<unknown> {
  const body = await readBody(context, limit);
  if (body.length === 0) return undefined;
  refuseOtherTypes(context, alsoTypes);
  try {
    return parseExactly(body);
  } catch (error) {
    throw new HTTPException(400, { message: (error as Error).message });
  }
}

function refuseOtherTypes({ req }: Context, alsoTypes: readonly string[]): void {
  const [type = "", ...parameters] = (req.header("content-type") ?? "application/json")
    .toLowerCase().split(";").map((part) => part.trim());
  const isJson = /^(application\/([\w.+-]+\+)?|text\/)json$/.test(type) || alsoTypes.includes(type);
  const charset = parameters.find((parameter) => parameter.startsWith("charset="));
  const encoding = req.header("content-encoding")?.toLowerCase() ?? "identity";
  const problem = !isJson
    ? `content type '${type}'`
    : charset && !/^charset="?(utf-8|us-ascii)"?$/.test(charset)
    ? charset
    : encoding !== "identity"
    ? `content encoding '${encoding}'`
    : undefined;
  if (!problem) return;
  throw new HTTPException(415, {
    message: `${printable(problem, 200)} is not supported: expected JSON in UTF-8`,
  });
}

async function readBody({ req }: Context, limit: number): Promise<Uint8Array<ArrayBuffer>> {
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
