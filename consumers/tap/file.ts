/**
 * The file of `--save`, in which a line is whole or not there.
 * @module
 */
import { type Log, parseSaved } from "@event-sink/lib";

/** A file that lines are appended to. Dispose it to close it. */
export interface SaveFile extends Disposable {
  /**
   * Appends lines, each with its line feed. They are with the operating system when it returns, so that an end of the process loses none.
   *
   * @throws when they cannot be written; none of them is there then
   */
  append(lines: string): void;
}

/** Bytes at the end of a file in which its last line feed is looked for. */
const TAIL = 256 * 2 ** 20;

/**
 * Opens a file for appending, and makes it if there is none, readable by its owner only. A last line that was cut off, as by a crash of the
 * machine, is removed.
 *
 * @throws when it cannot be written, when another tap has it open, and when its end is none of a saved file
 */
export function openSaveFile(path: string, log: Log): SaveFile {
  const failed = (error: unknown) =>
    new Error(`Cannot save to '${path}': ${(error as Error).message.replace(/: \w+ '.*'$/s, "")}`);
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true, append: true, create: true, mode: 0o600 });
  } catch (error) {
    throw failed(error);
  }
  let size = 0;
  const { isFile } = file.statSync();
  try {
    if (isFile) {
      if (!file.tryLockSync(true)) throw new Error("another tap saves to it");
      size = repaired(
        file,
        () => log.warn(`The last line of '${path}' was cut off; it is removed`),
      );
    }
  } catch (error) {
    file.close();
    throw failed(error);
  }
  const encoder = new TextEncoder();
  return {
    append(lines) {
      let bytes = encoder.encode(lines);
      const whole = size + bytes.length;
      try {
        while (bytes.length > 0) bytes = bytes.subarray(file.writeSync(bytes));
      } catch (error) {
        if (isFile) file.truncateSync(size);
        throw failed(error);
      }
      size = whole;
    },
    [Symbol.dispose]: () => file.close(),
  };
}

/** Ends the file with a whole line; returns its size then. */
function repaired(file: Deno.FsFile, onCut: () => void): number {
  const { size } = file.statSync();
  const { start, text } = lastLine(file, size);
  if (text === "") return size;
  try {
    parseSaved(text);
    file.writeSync(new TextEncoder().encode("\n"));
    return size + 1;
  } catch {
    if (!/^\{("|$)/.test(text)) throw new Error("its last line is no saved message");
    file.truncateSync(start);
    onCut();
    return start;
  }
}

/** What follows the last line feed. */
function lastLine(file: Deno.FsFile, size: number): { start: number; text: string } {
  const parts: Uint8Array[] = [];
  let start = size;
  while (start > 0) {
    if (size - start > TAIL) throw new Error("its last line is too long for a saved message");
    const part = new Uint8Array(Math.min(64 * 1024, start));
    file.seekSync(start - part.length, Deno.SeekMode.Start);
    for (let got = 0; got < part.length;) got += file.readSync(part.subarray(got)) ?? part.length;
    const feed = part.lastIndexOf(10);
    parts.unshift(part.subarray(feed + 1));
    start -= part.length - (feed + 1);
    if (feed !== -1) break;
  }
  const decoder = new TextDecoder();
  const text = parts.map((part) => decoder.decode(part, { stream: true })).join("");
  return { start, text: text + decoder.decode() };
}
