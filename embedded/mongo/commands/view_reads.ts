/**
 * Reads of a view, as pipelines over its collection.
 * @module
 */
import type { ResolvedView } from "../storage/views.ts";
import { decode, type Doc } from "../values/bson_view.ts";
import { aggregate } from "./aggregate.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { collectionName, countField, docField } from "./fields.ts";

/** A `find` as the stages that do the same, for a view. */
export function findStages(body: Doc): Doc[] {
  const stages: Doc[] = [];
  const filter = docField(body, "filter");
  const sort = docField(body, "sort");
  const projection = docField(body, "projection");
  const skip = countField(body, "skip", 0);
  const limit = countField(body, "limit", 0);
  if (filter && Object.keys(filter).length) stages.push({ $match: filter });
  if (sort && Object.keys(sort).length) stages.push({ $sort: sort });
  if (skip) stages.push({ $skip: skip });
  if (limit) stages.push({ $limit: limit });
  if (projection && Object.keys(projection).length) stages.push({ $project: projection });
  return stages;
}

/** Run stages over what a view shows. */
export async function aggregateView(
  context: CommandContext,
  view: ResolvedView,
  stages: Doc[],
): Promise<CommandResult> {
  const { body } = context;
  const command: Doc = {
    aggregate: view.name,
    pipeline: [...view.pipeline, ...stages],
    cursor: body.batchSize === undefined ? {} : { batchSize: body.batchSize },
  };
  for (const name of ["let", "maxTimeMS", "readConcern"]) {
    if (body[name] !== undefined) command[name] = body[name];
  }
  if (view.collation) command.collation = view.collation;
  return await aggregate({ ...context, body: command }, `${context.db}.${collectionName(body)}`);
}

/**
 * All that stages over a view yield, batch by batch.
 * @param each called with every document
 */
export async function readView(
  context: CommandContext,
  view: ResolvedView,
  stages: Doc[],
  each: (doc: Doc) => void,
): Promise<void> {
  const { cursors } = context.services;
  const { batchSize: _, ...body } = context.body;
  const answer = decode(await aggregateView({ ...context, body }, view, stages) as Uint8Array);
  const { firstBatch, id, ns } = answer.cursor as Doc;
  (firstBatch as Doc[]).forEach(each);
  for (let open = BigInt(id as bigint); open;) {
    const next = cursors.next(open, String(ns), Infinity);
    next.batch.forEach((bytes) => each(decode(bytes)));
    open = next.id;
  }
}
