/**
 * Reading saved messages, one JSON object a line.
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { NotSaved, parseSaved, printable, textOf, UsageError } from "@event-sink/lib";
import { type Mark, type Source, stableId, Unusable } from "./source.ts";

/** Longest line, in bytes: a message of 128 MiB, RabbitMQ's largest, as base64. Longer is something else. */
const LONGEST = 180 * 2 ** 20;
/** Bytes at either end of what was replayed by which it is recognized. */
const ENDS = 4096;
/** Bytes per read. */
const CHUNK = 256 * 1024;

/** A line of a file. */
interface Line {
  number: number;
  /** Without its line feed. */
  bytes: Uint8Array;
  /** Offset of the byte behind it. */
  end: number;
}

/** Opens a file of saved messages; `-` is standard input. A place is the number of a line, and the offset of its end. */
export async function openSaved(path: string): Promise<Source & { regular: boolean }> {
  if (path === "-") return sourceOf("standard input", path);
  try {
    const file = await Deno.open(path);
    const info = await file.stat();
    if (info.isDirectory) throw new Error("it is a directory");
    return sourceOf(`'${path}'`, path, file, info.isFile ? info.size : undefined);
  } catch (error) {
    throw new UsageError(`Cannot read '${path}': ${(error as Error).message}`);
  }
}

/** @param size undefined when it cannot be read twice */
function sourceOf(name: string, path: string, file?: Deno.FsFile, size?: number) {
  return {
    name,
    regular: size !== undefined,
    async *read(from: Mark | undefined, stop: AbortSignal) {
      const { line = 0, offset = 0 } = (from ?? {}) as { line?: number; offset?: number };
      const within = offset > 0 && !await seekLine(file!, offset);
      const chunks = file ? chunksOf(file) : Deno.stdin.readable
        // A read from standard input may never end.
        .pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal: stop });
      for await (
        const { number, bytes, end } of lines(chunks, { line: within ? line - 1 : line, offset })
      ) {
        if (stop.aborted) return;
        const message = parsed(bytes, number);
        if (!message) continue;
        yield {
          name: `line ${number}`,
          message,
          id: () => stableId(String(number), bytes),
          mark: { line: number, offset: end },
          share: size ? Math.min(1, end / size) : undefined,
        };
      }
    },
    async record({ line, offset }: Mark) {
      return { line, offset, sha256: await fingerprint(path, offset as number) };
    },
    async check({ line, offset, sha256 }: Mark) {
      if (typeof line !== "number" || typeof offset !== "number") {
        throw new Error("it names no line");
      }
      if (size! < offset) {
        throw new Error(`${name} has ${size} bytes, of which ${offset} were replayed`);
      }
      if (await fingerprint(path, offset) !== sha256) {
        throw new Error(`${name} has changed before line ${line + 1}, up to which it was replayed`);
      }
    },
    [Symbol.asyncDispose]() {
      file?.close();
      return Promise.resolve();
    },
  };
}

function parsed(bytes: Uint8Array, number: number) {
  const text = textOf(bytes);
  if (text === undefined) throw new Unusable(`line ${number}: it is not UTF-8`);
  if (!/\S/.test(text)) return undefined;
  try {
    return parseSaved(text);
  } catch (error) {
    if (!(error instanceof NotSaved)) throw error;
    // JSON.parse() speaks of a line 1.
    const why = error.message.replace(/ \(line \d+ column \d+\)/, "");
    throw new Unusable(`line ${number}: ${printable(why, 300)}`);
  }
}

/** What tells one file from another as far as it was replayed: a hash of the first and the last bytes of that. */
async function fingerprint(path: string, offset: number): Promise<string> {
  using file = await Deno.open(path);
  const hash = createHash("sha256");
  for (const start of [0, Math.max(0, offset - ENDS)]) {
    await file.seek(start, Deno.SeekMode.Start);
    let left = Math.min(ENDS, offset);
    while (left > 0) {
      const part = new Uint8Array(left);
      const count = await file.read(part) ?? 0;
      if (count === 0) break;
      hash.update(part.subarray(0, count));
      left -= count;
    }
  }
  return hash.digest("hex");
}

/** Goes to an offset; returns whether a line begins there, and not the line feed that the last one did not have yet. */
async function seekLine(file: Deno.FsFile, offset: number): Promise<boolean> {
  await file.seek(offset - 1, Deno.SeekMode.Start);
  const before = new Uint8Array(1);
  await file.read(before);
  return before[0] === 10;
}

async function* chunksOf(file: Deno.FsFile) {
  while (true) {
    const chunk = new Uint8Array(CHUNK);
    const count = await file.read(chunk);
    if (count === null) return;
    yield chunk.subarray(0, count);
  }
}

/** Not lib's, which does not tell where a line ends. */
async function* lines(
  chunks: AsyncIterable<Uint8Array>,
  { line, offset }: { line: number; offset: number },
): AsyncGenerator<Line> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let number = line;
  const whole = () => parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts));
  for await (const chunk of chunks) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) !== -1; start = end + 1) {
      parts.push(chunk.subarray(start, end));
      offset += end + 1 - start;
      yield { number: ++number, bytes: whole(), end: offset };
      parts = [];
      length = 0;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
    offset += chunk.length - start;
    length += chunk.length - start;
    if (length > LONGEST) {
      throw new Unusable(`line ${number + 1}: it is longer than ${LONGEST / 2 ** 20} MiB`);
    }
  }
  if (parts.length > 0) yield { number: ++number, bytes: whole(), end: offset };
}
