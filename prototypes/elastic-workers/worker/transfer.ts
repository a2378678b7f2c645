/**
 * A real upload: copies what a request names into a directory, or puts it to a server.
 * @module
 */
import { BadMessage, printable, UsageError } from "@event-sink/lib";
import { basename, resolve } from "node:path";
import type { UploadRequest } from "../message.ts";

/** Where from, where to, and how much. */
export interface TransferOptions {
  /** Directory, or `http(s)://` URL below which the files are put. */
  target: string;
  /** Directory that `file:` URIs have to be in; without one there are none. */
  source: string;
  /** Most bytes of a file. */
  sizeLimit: number;
  /** Most seconds of an upload. */
  timeLimit: number;
}

/**
 * Returns what uploads. The name depends on the URI alone, so that an upload that is done twice leaves one file.
 *
 * The upload throws {@linkcode BadMessage} for what no repetition makes good.
 */
export async function transfer(
  { target, source, sizeLimit, timeLimit }: TransferOptions,
): Promise<(request: UploadRequest) => Promise<void>> {
  const isUrl = /^https?:/.test(target);
  if (isUrl && !URL.canParse(target)) throw new UsageError(`--target: '${target}' is no URL`);
  if (!isUrl) await Deno.mkdir(target, { recursive: true });

  return async ({ uri }) => {
    const signal = AbortSignal.timeout(timeLimit * 1000);
    const content = (await open(uri, source, signal)).pipeThrough(limited(sizeLimit, uri));
    const name = await nameOf(uri);
    if (isUrl) {
      const url = `${target.replace(/\/$/, "")}/${name}`;
      const answer = await fetch(url, { method: "PUT", body: content, signal });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`Cannot put ${url}: ${answer.status}`);
      return;
    }
    // Under another name until it is complete: nobody sees half a file.
    const part = await Deno.makeTempFile({ dir: target, prefix: ".", suffix: ".part" });
    try {
      const file = await Deno.open(part, { write: true });
      await content.pipeTo(file.writable, { signal });
      await Deno.rename(part, resolve(target, name));
    } catch (error) {
      await Deno.remove(part).catch(() => {});
      throw error;
    }
  };
}

async function open(uri: string, source: string, signal: AbortSignal) {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (url?.protocol === "file:" && source !== "") return await openFile(url, source);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new BadMessage(
      `cannot upload '${printable(uri, 200)}': expected http, https, or file with --source`,
    );
  }
  const answer = await fetch(url, { signal });
  if (answer.ok && answer.body) return answer.body;
  await answer.body?.cancel();
  const text = `cannot read it: ${answer.status}`;
  // The request's fault, unless it is one of time.
  const isFinal = answer.status < 500 && ![408, 425, 429].includes(answer.status);
  throw isFinal ? new BadMessage(text) : new Error(text);
}

/** Links are followed before it is decided where a file is. */
async function openFile(
  url: URL,
  source: string,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const inside = `${await Deno.realPath(source)}/`;
  const path = await Deno.realPath(url).catch(() => {
    throw new BadMessage("there is no such file");
  });
  if (!path.startsWith(inside)) throw new BadMessage("the file is not inside --source");
  if (!(await Deno.stat(path)).isFile) throw new BadMessage("it is no file");
  return (await Deno.open(path)).readable;
}

function limited(most: number, uri: string) {
  let bytes = 0;
  return new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, out) {
      bytes += chunk.length;
      if (bytes <= most) return out.enqueue(chunk);
      throw new BadMessage(`'${printable(uri, 200)}' has more than ${most} bytes`);
    },
  });
}

/** `a1b2c3d4e5f60718-thesis.pdf`. */
async function nameOf(uri: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(uri));
  const hex = Array.from(
    new Uint8Array(hash).subarray(0, 8),
    (byte) => byte.toString(16).padStart(2, "0"),
  );
  const last = basename(new URL(uri).pathname).replace(/[^A-Za-z0-9._-]/g, "_").slice(-80);
  return `${hex.join("")}-${last || "index"}`;
}
