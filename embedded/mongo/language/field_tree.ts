/**
 * Projections that only name fields to keep or to leave out, as trees of their dotted paths.
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { isNum, toNumber } from "../values/numbers.ts";

/** Makes the projected document. */
export type Projection = (doc: Doc) => Doc;

/** Fields by name, each true, or a deeper level. */
export type Tree = Map<string, Tree | true>;

/** A projection that only names fields, for pipeline stages. */
export function namedFields(spec: Doc): Projection {
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

/** True for `1`, `true` and their like in a projection. */
export function included(value: unknown): boolean {
  return (isNum(value) && toNumber(value) !== 0) || value === true;
}

/**
 * Add a dotted path to a tree.
 * @throws CommandError 31249 for one that lies within, or around, another
 */
export function addPath(tree: Tree, path: string): void {
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

/** Copy the fields of a tree from one document to another, in the order of the document, not of the projection. */
export function include(source: Doc, tree: Tree, target: Doc): void {
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

/** A copy of a document without the fields of a tree. */
export function exclude(source: Doc, tree: Tree): Doc {
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
