/**
 * Reads of a view, as pipelines over its collection.
 * @module
 */
import type { Resolved } from "../storage/views.ts";
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
  view: Resolved,
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

/** All that stages over a view yield. */
export async function viewDocuments(
  context: CommandContext,
  view: Resolved,
  stages: Doc[],
): Promise<Doc[]> {
  const { cursors } = context.services;
  const { batchSize: _, ...body } = context.body;
  const all: Doc[] = [];
  let answer = decode(await aggregateView({ ...context, body }, view, stages) as Uint8Array);
  for (let batch = "firstBatch";; batch = "nextBatch") {
    const cursor = answer.cursor as Doc;
    all.push(...cursor[batch] as Doc[]);
    const id = BigInt(cursor.id as bigint);
    if (!id) return all;
    const next = cursors.next(id, String(cursor.ns), Infinity);
    answer = { cursor: { id: next.id, ns: cursor.ns, nextBatch: next.batch.map(decode) } };
  }
}
