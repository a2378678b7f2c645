/**
 * Views: a name for a pipeline over a collection or over another view.
 * https://www.mongodb.com/docs/manual/core/views/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import type { Catalog } from "./catalog.ts";
import type { Collection } from "./collection.ts";

/** As the server: views on views on views end here. */
const MAX_DEPTH = 20;

/** What a view stands for in the end: the name of a collection, and the pipeline over it. */
export interface ResolvedView {
  name: string;
  pipeline: Doc[];
  /** The view's own, which everything on it has. */
  collation: Doc | undefined;
}

/**
 * Follow a view down to its collection.
 * @returns undefined when the name is not a view's
 * @throws CommandError ViewDepthLimitExceeded, also for views that lead back to themselves
 */
export function resolveView(catalog: Catalog, db: string, name: string): ResolvedView | undefined {
  const first = catalog.find(db, name);
  if (!first || !first.isView) return undefined;
  const resolved: ResolvedView = {
    name,
    pipeline: [],
    collation: first.options.collation as Doc | undefined,
  };
  let view: Collection | undefined = first;
  for (let depth = 0; view && view.isView; depth++) {
    if (depth >= MAX_DEPTH) {
      throw new CommandError(
        "ViewDepthLimitExceeded",
        `View depth limit exceeded; maximum depth is ${MAX_DEPTH}`,
      );
    }
    resolved.name = String(view.options.viewOn);
    resolved.pipeline.unshift(...(view.options.pipeline ?? []) as Doc[]);
    view = catalog.find(db, resolved.name);
  }
  return resolved;
}
