/**
 * Which handlers an event goes to: `event-handlers.json`, and its patterns.
 * @module
 */
import * as v from "valibot";
import { type Entry, entrySchema } from "../handlers/entry.ts";
import type { Log } from "@event-sink/lib";

const fileSchema = v.record(
  v.pipe(v.string(), v.includes(":", "expected '<namespace>:<event_type>'")),
  v.array(entrySchema),
);

/** An entry that an event matches, and where it stands in the file. */
export interface Match {
  pattern: string;
  /** From 0, in the pattern's list. */
  index: number;
  entry: Entry;
}

/** Finds the entries for an event. */
export type Filters = (event: { namespace: string; event_type: string }) => Match[];

/**
 * Reads the text of `event-handlers.json`.
 *
 * @throws {TypeError} saying what is wrong with it, and where
 */
export function parseFilters(text: string): Filters {
  const value = parseJson(text);
  if (Array.isArray(value)) throw new TypeError("the file is a list: expected an object");
  const result = v.safeParse(fileSchema, value);
  if (!result.success) {
    const [issue] = result.issues;
    throw new TypeError(`${v.getDotPath(issue) ?? "the file"}: ${issue.message}`);
  }
  const rules = Object.entries(result.output).map(([pattern, entries]) => {
    const [namespace = "", type = ""] = splitOnce(pattern);
    return { pattern, entries, matches: matcher(namespace), matchesType: matcher(type) };
  });
  return ({ namespace, event_type }) =>
    rules
      .filter((rule) => rule.matches(namespace) && rule.matchesType(event_type))
      .flatMap(({ pattern, entries }) =>
        entries.map((entry, index) => ({ pattern, index, entry }))
      );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`not JSON: ${(error as Error).message}`);
  }
}

/** A namespace has no colon; an event type may have some. */
function splitOnce(pattern: string): [string, string] {
  const colon = pattern.indexOf(":");
  return [pattern.slice(0, colon), pattern.slice(colon + 1)];
}

/** Words are separated by dots: `*` stands for one, `#` for any number of them, none included. */
function matcher(pattern: string): (text: string) => boolean {
  if (!/[*#]/.test(pattern)) return (text) => text === pattern;
  const parts = pattern.split(".").filter((word, at, all) => word !== "#" || all[at - 1] !== "#");
  return (text) => {
    const words = text === "" ? [] : text.split(".");
    // reached[n]: the parts so far can stand for the first n words. No backtracking, whatever the pattern.
    let reached = [true, ...words.map(() => false)];
    for (const part of parts) {
      if (part === "#") {
        let any = false;
        reached = reached.map((here) => any ||= here);
      } else {
        reached = reached.map((_, n) =>
          n > 0 && reached[n - 1]! && (part === "*" || part === words[n - 1])
        );
      }
    }
    return reached.at(-1)!;
  };
}

/**
 * Reads the file once.
 *
 * @throws {TypeError} when it cannot be used
 */
export async function readFilters(file: string): Promise<Filters> {
  return using(file, await read(file));
}

/** Filters that follow their file. Dispose it to stop following. */
export interface WatchedFilters extends Disposable {
  /** Finds the entries for an event, by the file as it was last when it could be used. */
  readonly match: Filters;
}

/**
 * Reads the file, and again whenever it changes: one that is broken is reported, and the old one stays in use.
 *
 * @throws {TypeError} when the file cannot be used now, at the start
 */
export async function watchFilters(file: string, log: Log): Promise<WatchedFilters> {
  let text = await read(file);
  let match = using(file, text);
  // The folder: an editor replaces the file, and a mounted one is a link that is replaced.
  const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : ".";
  const watcher = Deno.watchFs(folder, { recursive: false });
  (async () => {
    for await (const _ of watcher) {
      try {
        const now = await read(file);
        if (now === text) continue;
        text = now;
        match = using(file, now);
        log.info(`Using the new ${file}`);
      } catch (error) {
        log.warn(`${(error as Error).message}; still using the old one`);
      }
    }
  })();
  return {
    get match() {
      return match;
    },
    [Symbol.dispose]: () => watcher.close(),
  };
}

async function read(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    throw new TypeError(`Cannot read ${file}: ${(error as Error).message}`);
  }
}

function using(file: string, text: string): Filters {
  try {
    return parseFilters(text);
  } catch (error) {
    throw new TypeError(`Cannot use ${file}: ${(error as Error).message}`);
  }
}
