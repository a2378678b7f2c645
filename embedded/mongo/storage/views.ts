/**
 * Views: a name for a pipeline over a collection or over another view.
 * https://www.mongodb.com/docs/manual/core/views/
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import type { Catalog } from "./catalog.ts";
import type { Collection } from "./collection.ts";
import { CommandError } from "../errors.ts";

/** As the server: views on views on views end here. */
const MAX_DEPTH = 20;

/** True for a view, which has a pipeline and no documents of its own. */
export function isView(collection: Collection): boolean {
  return collection.options.viewOn !== undefined;
}

/** Throw CommandNotSupportedOnView where only a collection will do. */
export function refuseView(collection: Collection): void {
  if (!isView(collection)) return;
  throw new CommandError(
    "CommandNotSupportedOnView",
    `Namespace ${collection.ns} is a view, not a collection`,
  );
}

/** What a view stands for in the end: the name of a collection, and the pipeline over it. */
export interface Resolved {
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
export function resolveView(catalog: Catalog, db: string, name: string): Resolved | undefined {
  const first = catalog.find(db, name);
  if (!first || !isView(first)) return undefined;
  const resolved: Resolved = {
    name,
    pipeline: [],
    collation: first.options.collation as Doc | undefined,
  };
  let view: Collection | undefined = first;
  for (let depth = 0; view && isView(view); depth++) {
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
