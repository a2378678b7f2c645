/**
 * The positional operator `$`: which element of an array made a filter match.
 * https://www.mongodb.com/docs/manual/reference/operator/update/positional/
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { compileFilter, elemMatchTest } from "./matcher.ts";
import { walkPath } from "./paths.ts";

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
