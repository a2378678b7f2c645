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

/** An entry whose pattern an event matches, and where it stands in the file. */
export interface Match {
  pattern: string;
  /** Its place in the pattern's list, from 0. */
  index: number;
  entry: Entry;
}

/** Returns the entries for an event, in the order of the file. */
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

/** Matches a text word by word, words being separated by dots: `*` stands for one word, `#` for any number of words, none included. */
function matcher(pattern: string): (text: string) => boolean {
  if (!/[*#]/.test(pattern)) return (text) => text === pattern;
  const parts = pattern.split(".").filter((word, at, all) => word !== "#" || all[at - 1] !== "#");
  return (text) => {
    const words = text === "" ? [] : text.split(".");
    // reached[n]: whether the parts so far can stand for the first n words. So there is no backtracking, whatever the pattern.
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
  return filtersOf(file, await read(file));
}

/** Filters that follow changes of their file. Dispose it to stop. */
export interface WatchedFilters extends Disposable {
  /** Returns the entries for an event, by the latest content of the file that can be used. */
  readonly match: Filters;
}

/**
 * Reads the file, and again whenever it changes. While it cannot be used, that is logged and the filters stay as they are.
 *
 * @throws {TypeError} when the file cannot be used at the start
 */
export async function watchFilters(file: string, log: Log): Promise<WatchedFilters> {
  // The folder, not the file: an editor replaces the file by a new one, and Kubernetes replaces a link that leads to it.
  const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : ".";
  const watcher = watchFolder(file, folder);
  // Read when it is watched already, so that no change is missed.
  let text: string;
  let match: Filters;
  try {
    text = await read(file);
    match = filtersOf(file, text);
  } catch (error) {
    watcher.close();
    throw error;
  }
  (async () => {
    for await (const _ of watcher) {
      try {
        const now = await read(file);
        if (now === text) continue;
        text = now;
        match = filtersOf(file, now);
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

function watchFolder(file: string, folder: string): Deno.FsWatcher {
  try {
    return Deno.watchFs(folder, { recursive: false });
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    const why = missing ? "there is no such folder" : (error as Error).message;
    throw new TypeError(`Cannot read ${file}: ${why}`);
  }
}

async function read(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    throw new TypeError(`Cannot read ${file}: ${(error as Error).message}`);
  }
}

function filtersOf(file: string, text: string): Filters {
  try {
    return parseFilters(text);
  } catch (error) {
    throw new TypeError(`Cannot use ${file}: ${(error as Error).message}`);
  }
}
