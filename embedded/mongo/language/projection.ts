/**
 * Projections of `find` and `findAndModify`.
 * https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#projection
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { CommandError } from "../errors.ts";
import { language } from "./load_aggregation.ts";
import { compileFilter, elemMatchTest } from "./matcher.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { walkPath } from "./paths.ts";

/** Makes the projected document. */
export type Projection = (doc: Doc) => Doc;

/** Fields by name, each true, or a deeper level. */
type Tree = Map<string, Tree | true>;
type Apply = (source: Doc, target: Doc) => void;

/**
 * Compile a projection.
 * @param filter of the query, which the positional operator refers to
 * @returns undefined when everything is wanted
 */
export async function compileProjection(
  spec: Doc | undefined,
  filter: Doc,
  variables?: Doc,
): Promise<Projection | undefined> {
  const names = Object.keys(spec ?? {});
  if (!spec || !names.length) return undefined;
  const tree: Tree = new Map();
  const after: Apply[] = [];
  let inclusion: boolean | undefined;
  let id: boolean | undefined;
  const mode = (include: boolean, name: string) => {
    if (inclusion !== undefined && inclusion !== include) {
      throw new CommandError(
        include ? "Location31253" : "Location31254",
        include
          ? `Cannot do inclusion on field ${name} in exclusion projection`
          : `Cannot do exclusion on field ${name} in inclusion projection`,
      );
    }
    inclusion = include;
  };
  for (const name of names) {
    const value = spec[name];
    if (name === "") {
      throw new CommandError("Location40352", "FieldPath cannot be constructed with empty string");
    }
    if (name.endsWith(".$") || name === "$") {
      mode(true, name);
      const path = name.slice(0, -2);
      addPath(tree, path);
      after.push(positional(path, filter));
    } else if (isNum(value) || typeof value === "boolean") {
      const include = isNum(value) ? toNumber(value) !== 0 : value;
      if (name === "_id") id = include;
      else {
        mode(include, name);
        addPath(tree, name);
      }
    } else if (isDoc(value) && "$slice" in value && isFindSlice(value.$slice)) {
      after.push(slice(name, value.$slice));
      // Alone it keeps all other fields; in an inclusion it is one of the included.
      if (names.some((other) => other !== "_id" && included(spec[other]))) addPath(tree, name);
    } else if (isDoc(value) && "$elemMatch" in value) {
      mode(true, name);
      const test = elemMatchTest(value.$elemMatch);
      after.push((source, target) => {
        const list = source[name];
        const found = Array.isArray(list) ? list.find(test) : undefined;
        if (found !== undefined) target[name] = [found];
      });
    } else if (isDoc(value) && "$meta" in value) {
      throw new CommandError("NotImplemented", "$meta projections are not supported");
    } else {
      // An expression: computed from the whole document, it makes the projection an inclusion.
      if (inclusion === undefined) inclusion = true;
      const { expression } = await language();
      const compute = expression(value, variables);
      after.push((source, target) => {
        const result = compute(source);
        if (result !== undefined) setPath(target, name.split("."), result);
      });
    }
  }
  if (inclusion === undefined) inclusion = id === true && !after.length;
  if (inclusion) {
    return (doc) => {
      const target: Doc = {};
      if (id !== false && "_id" in doc) target._id = doc._id;
      include(doc, tree, target);
      for (const apply of after) apply(doc, target);
      return target;
    };
  }
  if (id === false) tree.set("_id", true);
  return (doc) => {
    const target = exclude(doc, tree);
    for (const apply of after) apply(doc, target);
    return target;
  };
}

/** A projection that only names fields, for pipeline stages. */
export function simpleProjection(spec: Doc): Projection {
  const tree: Tree = new Map();
  const fields = Object.keys(spec).filter((name) => name !== "_id");
  const first = fields[0];
  const inclusion = first === undefined ? included(spec._id) : included(spec[first]);
  for (const name of fields) {
    if (included(spec[name]) !== inclusion) {
      throw new CommandError(
        inclusion ? "Location31254" : "Location31253",
        `Invalid $project :: caused by :: Cannot do ${
          inclusion ? "exclusion" : "inclusion"
        } on field ${name} in ${inclusion ? "inclusion" : "exclusion"} projection`,
      );
    }
    addPath(tree, name);
  }
  const keepId = spec._id === undefined ? true : included(spec._id);
  if (!inclusion) {
    if (!keepId) tree.set("_id", true);
    return (doc) => exclude(doc, tree);
  }
  return (doc) => {
    const target: Doc = {};
    if (keepId && "_id" in doc) target._id = doc._id;
    include(doc, tree, target);
    return target;
  };
}

function included(value: unknown): boolean {
  return (isNum(value) && toNumber(value) !== 0) || value === true;
}

function isFindSlice(value: unknown): boolean {
  return isNum(value) || (Array.isArray(value) && value.length === 2 && value.every(isNum));
}

function addPath(tree: Tree, path: string): void {
  const parts = path.split(".");
  let level = tree;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const known = level.get(part);
    if (known === true || (known && i === parts.length - 1)) {
      throw new CommandError(
        "Location31249",
        `Path collision at ${path}${
          known === true && i < parts.length - 1
            ? ` remaining portion ${parts.slice(i + 1).join(".")}`
            : ""
        }`,
      );
    }
    if (i === parts.length - 1) level.set(part, true);
    else {
      const next: Tree = known ?? new Map();
      level.set(part, next);
      level = next;
    }
  }
}

// Fields keep the document's order, not the projection's.
function include(source: Doc, tree: Tree, target: Doc): void {
  for (const name of Object.keys(source)) {
    const part = tree.get(name);
    if (part === undefined) continue;
    const value = part === true ? source[name] : includeBelow(source[name], part);
    if (value !== undefined) target[name] = value;
  }
}

function includeBelow(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => includeBelow(item, tree)).filter((item) => item !== undefined);
  }
  if (!isDoc(value)) return undefined;
  const target: Doc = {};
  include(value, tree, target);
  return target;
}

function exclude(source: Doc, tree: Tree): Doc {
  const target: Doc = {};
  for (const name of Object.keys(source)) {
    const part = tree.get(name);
    if (part === true) continue;
    target[name] = part ? excludeBelow(source[name], part) : source[name];
  }
  return target;
}

function excludeBelow(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) return value.map((item) => excludeBelow(item, tree));
  return isDoc(value) ? exclude(value, tree) : value;
}

/** Change the array at a path of a projected document, without touching the source that it came from. */
function changeArray(target: Doc, path: string[], change: (list: unknown[]) => unknown[]): void {
  const [name, ...rest] = path as [string, ...string[]];
  const value = target[name];
  if (!rest.length) {
    if (Array.isArray(value)) target[name] = change(value);
    return;
  }
  const below = (item: unknown): unknown => {
    if (!isDoc(item)) return item;
    const copy = { ...item };
    changeArray(copy, rest, change);
    return copy;
  };
  if (Array.isArray(value)) target[name] = value.map(below);
  else if (isDoc(value)) target[name] = below(value);
}

function slice(name: string, value: unknown): Apply {
  const path = name.split(".");
  const [first, second] = (Array.isArray(value) ? value : [value]).map((n) =>
    Math.trunc(toNumber(n))
  );
  if (second !== undefined && second <= 0) {
    throw new CommandError("Location28724", "Third argument to $slice must be positive");
  }
  return (_source, target) =>
    changeArray(target, path, (list) => {
      if (second === undefined) return first! >= 0 ? list.slice(0, first) : list.slice(first);
      const from = first! < 0 ? Math.max(0, list.length + first!) : first!;
      return list.slice(from, from + second);
    });
}

function positional(path: string, filter: Doc): Apply {
  const parts = path.split(".");
  return (source, target) => {
    const at = matchedPosition(source, filter, path);
    if (at === undefined) {
      throw new CommandError(
        "Location51246",
        "Executor error during find command :: caused by :: positional operator '.$' couldn't find a matching element in the array",
      );
    }
    changeArray(target, parts, (list) => at < list.length ? [list[at]] : []);
  };
}

/**
 * The position, in the array at `path`, of the element that made a filter match: what `$` stands for.
 * @returns undefined when no condition of the filter went through that array
 */
export function matchedPosition(doc: Doc, filter: Doc, path?: string): number | undefined {
  for (const name of Object.keys(filter)) {
    const condition = filter[name];
    if ((name === "$and" || name === "$or") && Array.isArray(condition)) {
      for (const branch of condition) {
        if (
          name === "$or" && !compileFilter(branch as Doc, { expression: () => () => true })(doc)
        ) continue;
        const at = matchedPosition(doc, branch as Doc, path);
        if (at !== undefined) return at;
      }
      continue;
    }
    if (name[0] === "$") continue;
    if (
      path !== undefined && name !== path && !name.startsWith(`${path}.`) &&
      !path.startsWith(`${name}.`)
    ) {
      continue;
    }
    const at = positionOf(doc, name, condition);
    if (at !== undefined) return at;
  }
  return undefined;
}

function positionOf(doc: Doc, name: string, condition: unknown): number | undefined {
  const parts = name.split(".");
  let position: number | undefined;
  if (isDoc(condition) && "$elemMatch" in condition) {
    const test = elemMatchTest(condition.$elemMatch, { expression: () => () => true });
    walkPath(doc, parts, false, (value, at) => {
      const found = Array.isArray(value) ? value.findIndex(test) : -1;
      if (found < 0) return false;
      position = at >= 0 ? at : found;
      return true;
    });
    return position;
  }
  const test = compileFilter({ v: condition }, { expression: () => () => true });
  walkPath(doc, parts, true, (value, at) => {
    if (at < 0 || !test(value === undefined ? {} : { v: value })) return false;
    position = at;
    return true;
  });
  return position;
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
