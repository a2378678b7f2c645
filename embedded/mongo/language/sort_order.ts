/**
 * The order that a sort specification asks for.
 * https://www.mongodb.com/docs/manual/reference/method/cursor.sort/
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import { compare } from "../values/compare.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { walkPath } from "./paths.ts";

/** The sort keys of a document, and their order. An array counts as its least element, or its greatest when descending. */
export function sortOrder(sort: Doc): {
  keys: (doc: Doc) => unknown[];
  compare: (a: unknown[], b: unknown[]) => number;
} {
  const fields = Object.keys(sort).map((name) => {
    const direction = sort[name];
    return { path: name.split("."), down: isNum(direction) && toNumber(direction) < 0 };
  });
  return {
    keys: (doc) => fields.map(({ path, down }) => sortKey(doc, path, down)),
    compare: (a, b) => {
      for (let i = 0; i < fields.length; i++) {
        const order = compare(a[i], b[i]);
        if (order) return fields[i]!.down ? -order : order;
      }
      return 0;
    },
  };
}

function sortKey(doc: Doc, path: string[], down: boolean): unknown {
  let best: unknown;
  let any = false;
  walkPath(doc, path, false, (value) => {
    // An array counts by its elements, of which an array is a value like others.
    const candidates = !Array.isArray(value) ? [value] : value.length ? value : [undefined];
    for (const candidate of candidates) {
      if (!any || (down ? compare(candidate, best) > 0 : compare(candidate, best) < 0)) {
        best = candidate;
      }
      any = true;
    }
    return false;
  });
  return best;
}
