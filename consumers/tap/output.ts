/**
 * Where messages go: to the terminal or a pipe, and into a file.
 * @module
 */
import { savedLine, type SavedMessage, type Where } from "@event-sink/lib";
import type { SaveFile } from "./file.ts";
import { linesOf } from "./show.ts";

/** What is shown, and how. */
export interface OutputOptions {
  /** Writes to stdout. */
  print: (text: string) => Promise<void>;
  /** Whether as lines of JSON. */
  json: boolean;
  /** Where these lines are kept, too. */
  file?: SaveFile;
  /** Which messages are meant. */
  where: Where;
  /** Messages after which nothing is written any more. */
  limit: number;
}

/** Takes messages. */
export interface Output {
  /** How many were written. */
  readonly count: number;
  /**
   * Writes those that are meant; resolves when they are written, with whether the limit is reached.
   *
   * @param more members to put before those of a line of JSON
   */
  write(messages: SavedMessage[], more?: Record<string, unknown>): Promise<boolean>;
}

/** Characters that are written at once. */
const MOST_AT_ONCE = 256 * 1024;

/** Makes an output of which nothing is written yet. */
export function createOutput({ print, json, file, where, limit }: OutputOptions): Output {
  const terminal = Deno.stdout.isTerminal();
  const colour = terminal && !Deno.noColor;
  let count = 0;
  /** Lines for the file, and for stdout. */
  let saved: string[] = [];
  let shown: string[] = [];
  let size = 0;

  async function flush() {
    const [toSave, toShow] = [saved, shown];
    [saved, shown, size] = [[], [], 0];
    if (toSave.length > 0) file!.append(toSave.join("\n") + "\n");
    // A terminal cuts what is printed, a line at a time.
    if (terminal) { for (const line of toShow) await print(line); }
    else if (toShow.length > 0) await print(toShow.join("\n"));
  }

  return {
    get count() {
      return count;
    },
    async write(messages, more) {
      for (const message of messages) {
        if (count === limit) break;
        if (!where(message)) continue;
        count++;
        const line = json || file ? savedLine(message, more) : "";
        if (file) saved.push(line);
        const lines = json ? [line] : linesOf(message, colour);
        shown.push(...lines);
        size += lines.reduce((sum, { length }) => sum + length, line.length);
        if (size > MOST_AT_ONCE) await flush();
      }
      await flush();
      return count === limit;
    },
  };
}
