/**
 * Projections of `find` and `findAndModify`.
 * https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#projection
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { isTrue } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { addPath, exclude, include, included, type Projection, type Tree } from "./field_tree.ts";
import { loadAggregation } from "./load_aggregation.ts";
import { elemMatchTest } from "./matcher.ts";
import { setPath } from "./paths.ts";
import { matchedPosition } from "./positional.ts";

/** Adds to the projected document `target` what an operator makes of `source`. */
type Apply = (source: Doc, target: Doc) => void;

/** A projection while its specification is read. */
interface Draft {
  /** The fields that are named, to keep or to leave out. */
  tree: Tree;
  /** What the operators and expressions do, in order. */
  operators: Apply[];
  /** Whether fields are kept or left out; undefined until one of them says so. */
  inclusion: boolean | undefined;
  /** Whether `_id` is wanted; undefined: as usual. */
  id: boolean | undefined;
}

/**
 * Compile a projection.
 * @param filter of the query, which the positional operator refers to
 * @param variables of the command's `let`
 * @returns undefined when everything is wanted
 * @throws CommandError as the server words it
 */
export async function compileProjection(
  spec: Doc | undefined,
  filter: Doc,
  variables?: Doc,
): Promise<Projection | undefined> {
  if (!spec || !Object.keys(spec).length) return undefined;
  const draft: Draft = { tree: new Map(), operators: [], inclusion: undefined, id: undefined };
  for (const name of Object.keys(spec)) {
    if (addField(draft, name, spec, filter)) continue;
    // An expression: computed from the whole document, it makes the projection an inclusion.
    draft.inclusion ??= true;
    const { expression } = await loadAggregation();
    const compute = expression(spec[name], variables);
    draft.operators.push((source, target) => {
      const result = compute(source);
      if (result !== undefined) setPath(target, name.split("."), result);
    });
  }
  return finished(draft);
}

function finished({ tree, operators, id, inclusion }: Draft): Projection {
  if (inclusion ?? (id === true && !operators.length)) {
    return (doc) => {
      const target: Doc = {};
      if (id !== false && "_id" in doc) target._id = doc._id;
      include(doc, tree, target);
      for (const apply of operators) apply(doc, target);
      return target;
    };
  }
  if (id === false) tree.set("_id", true);
  return (doc) => {
    const target = exclude(doc, tree);
    for (const apply of operators) apply(doc, target);
    return target;
  };
}

/** Add one field of the specification; false when it is an expression. */
function addField(draft: Draft, name: string, spec: Doc, filter: Doc): boolean {
  const { tree, operators } = draft;
  const value = spec[name];
  if (name === "") {
    throw new CommandError("Location40352", "FieldPath cannot be constructed with empty string");
  }
  if (name.endsWith(".$") || name === "$") {
    setMode(draft, true, name);
    const path = name.slice(0, -2);
    addPath(tree, path);
    operators.push(positional(path, filter));
  } else if (isNum(value) || typeof value === "boolean") {
    const kept = isTrue(value);
    if (name === "_id") draft.id = kept;
    else {
      setMode(draft, kept, name);
      addPath(tree, name);
    }
  } else if (isDoc(value) && "$slice" in value && isFindSlice(value.$slice)) {
    operators.push(slice(name, value.$slice));
    // Alone it keeps all other fields; in an inclusion it is one of the included.
    const others = Object.keys(spec).filter((other) => other !== "_id");
    if (others.some((other) => included(spec[other]))) addPath(tree, name);
  } else if (isDoc(value) && "$elemMatch" in value) {
    setMode(draft, true, name);
    operators.push(elemMatch(name, value.$elemMatch));
  } else if (isDoc(value) && "$meta" in value) {
    throw new CommandError("NotImplemented", "$meta projections are not supported");
  } else return false;
  return true;
}

/** A field is to be kept, or left out: all must agree. */
function setMode(draft: Draft, inclusion: boolean, name: string): void {
  if (draft.inclusion !== undefined && draft.inclusion !== inclusion) {
    throw new CommandError(
      inclusion ? "Location31253" : "Location31254",
      inclusion
        ? `Cannot do inclusion on field ${name} in exclusion projection`
        : `Cannot do exclusion on field ${name} in inclusion projection`,
    );
  }
  draft.inclusion = inclusion;
}

function elemMatch(name: string, condition: unknown): Apply {
  const test = elemMatchTest(condition);
  return (source, target) => {
    const list = source[name];
    const found = Array.isArray(list) ? list.find(test) : undefined;
    if (found !== undefined) target[name] = [found];
  };
}

function isFindSlice(value: unknown): boolean {
  return isNum(value) || (Array.isArray(value) && value.length === 2 && value.every(isNum));
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
