/**
 * Paths of updates: checked, ordered, their positional parts resolved, and what is at their end changed.
 * @module
 */
import { CommandError } from "../errors.ts";
import { MAX_DEPTH } from "../limits.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { shellText } from "../values/shell_text.ts";
import { arrayIndex, field } from "./paths.ts";

/** An array that `$set: { "a.100000000": 1 }` would fill with nulls stays within the server's bound. */
const MAX_PADDING = 1_500_000;

/** What positional parts of a path stand for. */
export interface Positions {
  /** `$`: the position that the query matched. */
  matched: (path: string) => number | undefined;
  /** `$[name]`: the test of the array filter of that name. */
  filters: Map<string, (element: unknown) => boolean>;
}

/** Check a path as it stands in an update. */
export function checkPath(path: string): string[] {
  if (path === "") throw new CommandError("EmptyFieldName", "An empty update path is not valid.");
  const parts = path.split(".");
  if (parts.length > MAX_DEPTH) {
    throw new CommandError("Overflow", `Exceeded the nesting limit of ${MAX_DEPTH} levels`);
  }
  for (const part of parts) {
    if (part === "") {
      throw new CommandError(
        "EmptyFieldName",
        `The update path '${path}' contains an empty field name, which is not allowed.`,
      );
    }
    if (part[0] === "$" && !isPositional(part) && !["$id", "$ref", "$db"].includes(part)) {
      throw new CommandError(
        "DollarPrefixedFieldName",
        `The dollar ($) prefixed field '${part}' in '${path}' is not valid for storage.`,
      );
    }
  }
  if (isPositional(parts[0]!)) {
    throw new CommandError(
      "BadValue",
      `Cannot have positional (i.e. '$') element in the first position in path '${path}'`,
    );
  }
  return parts;
}

function isPositional(part: string): boolean {
  return part === "$" || /^\$\[.*\]$/.test(part);
}

/** Throw when one of the paths is, or lies within, another. */
export function checkConflicts(paths: string[][]): void {
  const seen = new Map<string, boolean>(); // a whole path: true; the way to one: false
  for (const path of paths) {
    const name = path.join(".");
    for (let i = 1; i <= path.length; i++) {
      const prefix = path.slice(0, i).join(".");
      const known = seen.get(prefix);
      if (known === true || (i === path.length && known !== undefined)) {
        throw new CommandError(
          "ConflictingUpdateOperators",
          `Updating the path '${name}' would create a conflict at '${prefix}'`,
        );
      }
      seen.set(prefix, i === path.length);
    }
  }
}

/** The server applies changes in the order of their paths, numbers as numbers: new fields appear so. */
export function comparePaths(a: string[], b: string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] === b[i]) continue;
    const x = arrayIndex(a[i]!);
    const y = arrayIndex(b[i]!);
    if (x >= 0 && y >= 0) return x - y;
    return a[i]! < b[i]! ? -1 : 1;
  }
  return a.length - b.length;
}

/** The plain paths that a path with positional parts stands for in a document. */
export function resolvePaths(doc: Doc, path: string[], positions: Positions): string[][] {
  if (!path.some(isPositional)) return [path];
  let resolved: string[][] = [[]];
  path.forEach((part, i) => {
    if (!isPositional(part)) {
      for (const one of resolved) one.push(part);
      return;
    }
    const before = path.slice(0, i).join(".");
    if (part === "$") {
      const at = positions.matched(before);
      if (at === undefined) {
        throw new CommandError(
          "BadValue",
          "The positional operator did not find the match needed from the query.",
        );
      }
      for (const one of resolved) one.push(String(at));
      return;
    }
    resolved = resolved.flatMap((one) => {
      const list = lookup(doc, one);
      if (list === undefined) {
        throw new CommandError(
          "BadValue",
          `The path '${one.join(".")}' must exist in the document in order to apply array updates.`,
        );
      }
      if (!Array.isArray(list)) {
        throw new CommandError(
          "BadValue",
          `Cannot apply array updates to non-array element ${one.at(-1)}: ${shellText(list)}`,
        );
      }
      const name = part.slice(2, -1);
      const test = name === "" ? () => true : positions.filters.get(name);
      if (!test) {
        throw new CommandError(
          "BadValue",
          `No array filter found for identifier '${name}' in path '${path.join(".")}'`,
        );
      }
      return list.flatMap((item, at) => test(item) ? [[...one, String(at)]] : []);
    });
  });
  return resolved;
}

/** The value at a plain path. */
export function lookup(doc: Doc, path: string[]): unknown {
  let value: unknown = doc;
  for (const part of path) {
    if (Array.isArray(value)) value = arrayIndex(part) < 0 ? undefined : value[arrayIndex(part)];
    else if (isDoc(value)) value = field(value, part);
    else return undefined;
  }
  return value;
}

function notViable(part: string, name: string, value: unknown): CommandError {
  return new CommandError(
    "PathNotViable",
    `Cannot create field '${part}' in element {${name}: ${shellText(value)}}`,
  );
}

/**
 * Change what is at a plain path, making what is missing on the way.
 * @param change gets the value there, `undefined` when missing, and returns the new one, `undefined` for none
 */
export function changeAt(
  doc: Doc,
  path: string[],
  change: (value: unknown) => unknown,
): void {
  // First what there is: an operator that does nothing must not leave empty documents on its way.
  const current = lookup(doc, path);
  const next = change(current);
  if (next === undefined && current === undefined) return;
  let parent: unknown = doc;
  for (let i = 0; i < path.length; i++) {
    const part = path[i]!;
    const last = i === path.length - 1;
    const name = path[i - 1] ?? "";
    let value: unknown;
    if (Array.isArray(parent)) {
      const at = arrayIndex(part);
      if (at < 0) throw notViable(part, name, parent);
      if (at - parent.length > MAX_PADDING) {
        throw new CommandError(
          "BadValue",
          `can't backfill more than ${MAX_PADDING} elements, to reach index ${at}`,
        );
      }
      while (parent.length < at) parent.push(null);
      if (last) parent[at] = next === undefined ? null : next;
      else value = parent[at] === undefined ? (parent[at] = {}) : parent[at];
    } else if (isDoc(parent)) {
      if (last) {
        if (next === undefined) delete parent[part];
        else if (part === "__proto__") {
          Object.defineProperty(parent, part, {
            value: next,
            enumerable: true,
            writable: true,
            configurable: true,
          });
        } else parent[part] = next;
      } else {
        value = field(parent, part);
        if (value === undefined) value = parent[part] = {};
      }
    } else throw notViable(part, name, parent);
    parent = value;
  }
}

/** `{_id: 1}`, as the server names a document in its errors. */
export function documentName(doc: Doc): string {
  return `{_id: ${shellText(doc._id)}}`;
}
