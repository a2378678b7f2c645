/**
 * Dotted paths through documents and arrays, as queries, sorts and index keys follow them.
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";

/** The own field of a document; never something inherited. */
export function field(doc: Doc, name: string): unknown {
  return Object.hasOwn(doc, name) ? doc[name] : undefined;
}

/** The array index that a path component is, or -1. */
export function arrayIndex(part: string): number {
  return /^(0|[1-9]\d{0,8})$/.test(part) ? Number(part) : -1;
}

/** What a path leads to; true stops the walk. `at` is the position in the outermost array crossed, or -1. */
export type Visit = (value: unknown, at: number) => boolean;

/**
 * Visit every value that a query path denotes: arrays on the way are entered one level, a numeric
 * component also picks an array's element. A missing value is visited as `undefined`.
 * @param expand whether an array at the end is visited element by element before it is itself
 * @returns true as soon as `visit` does
 */
export function walkPath(
  doc: Doc,
  path: readonly string[],
  expand: boolean,
  visit: Visit,
  from = 0,
  at = -1,
): boolean {
  return walkValue(field(doc, path[from]!), path, expand, visit, from + 1, at);
}

function walkValue(
  value: unknown,
  path: readonly string[],
  expand: boolean,
  visit: Visit,
  next: number,
  at: number,
): boolean {
  if (next === path.length) {
    if (expand && Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) {
        if (visit(value[i], at < 0 ? i : at)) return true;
      }
    }
    return visit(value, at);
  }
  if (Array.isArray(value)) {
    const index = arrayIndex(path[next]!);
    if (
      index >= 0 && index < value.length &&
      walkValue(value[index], path, expand, visit, next + 1, at < 0 ? index : at)
    ) return true;
    for (let i = 0; i < value.length; i++) {
      const item = value[i];
      if (isDoc(item) && walkPath(item, path, expand, visit, next, at < 0 ? i : at)) return true;
    }
    return false;
  }
  if (isDoc(value)) return walkPath(value, path, expand, visit, next, at);
  return visit(undefined, at);
}

/** The value at a path that enters no arrays but by index; `undefined` when missing. */
export function valueAt(doc: Doc, path: readonly string[]): unknown {
  let value: unknown = doc;
  for (const part of path) {
    if (Array.isArray(value)) {
      const index = arrayIndex(part);
      value = index < 0 ? undefined : value[index];
    } else if (isDoc(value)) value = field(value, part);
    else return undefined;
  }
  return value;
}

/** Set a field at a path, making the documents on the way. */
export function setPath(target: Doc, path: string[], value: unknown): void {
  let level = target;
  for (const part of path.slice(0, -1)) {
    const next = level[part];
    level = (isDoc(next) ? next : (level[part] = {})) as Doc;
  }
  level[path[path.length - 1]!] = value;
}
