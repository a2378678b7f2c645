/**
 * `aggregate`. https://www.mongodb.com/docs/manual/reference/command/aggregate/
 * @module
 */
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { steps } from "../values/collation.ts";
import type { Collection } from "../storage/collection.ts";
import type { Catalog } from "../storage/catalog.ts";
import { isDoc, RANK, rankOf } from "../values/compare.ts";
import { FIRST_BATCH, type Source } from "./cursors.ts";
import { CommandError } from "../errors.ts";
import { loadAggregation, variablesOf } from "../language/load_aggregation.ts";
import type { Resolver } from "../language/aggregation.ts";
import { compileFilter } from "../language/matcher.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { checkFields, countField, docField, listField } from "./fields.ts";
import { plan } from "../storage/planner.ts";
import { matches, rows } from "../storage/scan.ts";
import { resolveView } from "../storage/views.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { sourceDocuments } from "./diagnostics.ts";
import { prepareOutput } from "./output.ts";
import { countSelected, limited, select, selected, type Selection } from "./selection.ts";
import { wrongType } from "../values/field_checks.ts";
import { cursorReply } from "./cursor_reply.ts";

const REFUSED: Record<string, string> = {
  $changeStream: "The $changeStream stage is only supported on replica sets",
};
const UNSUPPORTED = [
  "$geoNear",
  "$listSessions",
  "$planCacheStats",
  "$search",
  "$searchMeta",
  "$vectorSearch",
];

function checkStages(body: Doc): Doc[] {
  const stages = listField(body, "pipeline");
  return stages.map((stage, i) => {
    if (!isDoc(stage)) {
      throw new CommandError(
        "TypeMismatch",
        "Each element of the 'pipeline' array must be an object",
      );
    }
    const names = Object.keys(stage);
    if (names.length !== 1) {
      throw new CommandError(
        "Location40323",
        "A pipeline stage specification object must contain exactly one field.",
      );
    }
    const name = names[0]!;
    if (REFUSED[name]) throw new CommandError("Location40573", REFUSED[name]);
    if (UNSUPPORTED.includes(name)) {
      throw new CommandError(
        "NotImplemented",
        `The stage '${name}' is not supported by the embedded store`,
      );
    }
    if ((name === "$out" || name === "$merge") && i < stages.length - 1) {
      throw new CommandError(
        "Location40601",
        `${name} can only be the final stage in the pipeline`,
      );
    }
    return stage;
  });
}

/**
 * Run a pipeline.
 * @param as namespace to answer with, when another than the one that is read: a view's
 */
export async function aggregate(context: CommandContext, as?: string): Promise<CommandResult> {
  const { services, body, db } = context;
  checkFields(
    body,
    ["pipeline", "cursor", "allowDiskUse", "hint", "let", "bypassDocumentValidation", "collation"],
    ["explain"],
  );
  const name = body.aggregate;
  if (typeof name !== "string" && !(isNum(name) && toNumber(name) === 1)) {
    throw wrongType("aggregate", name, "string");
  }
  const stages = checkStages(body);
  if (!isDoc(body.cursor)) {
    throw new CommandError(
      "FailedToParse",
      "The 'cursor' option is required, except for aggregate with the explain argument",
    );
  }
  const size = countField(body.cursor, "batchSize", FIRST_BATCH);
  const { catalog, cursors } = services;
  const view = typeof name === "string" ? resolveView(catalog, db, name) : undefined;
  if (view) {
    if (body.collation === undefined && view.collation) body.collation = view.collation;
    const pipeline = [...view.pipeline, ...stages];
    return await aggregate(
      { ...context, body: { ...body, aggregate: view.name, pipeline } },
      `${db}.${name}`,
    );
  }
  const variables = await variablesOf(docField(body, "let"));
  const find = () => typeof name === "string" ? catalog.find(db, name) : undefined;

  // What the planner understands is taken off the front of the pipeline: `$match`, then `$sort`.
  let rest = stages;
  const given = sourceDocuments(context, stages[0]);
  if (given) rest = rest.slice(1);
  const matched = !given && isDoc(rest[0]?.$match);
  const filter = matched ? rest[0]!.$match as Doc : {};
  if (matched) rest = rest.slice(1);
  const sortable = !given && isDoc(rest[0]?.$sort) &&
    Object.values(rest[0]!.$sort as Doc).every(isNum);
  const sort = sortable ? rest[0]!.$sort as Doc : undefined;
  const selection = await select(find(), filter, {
    sort,
    hint: body.hint,
    variables,
    collation: body.collation,
  });
  // Sorting is the stage's own work unless an index does it.
  if (sort && Object.keys(sort).length && selection.plan.sorted && selection.plan.index) {
    rest = rest.slice(1);
  } else selection.plan = { ...selection.plan, sorted: true };

  const ns = as ?? `${db}.${typeof name === "string" ? name : "$cmd.aggregate"}`;
  const counted = given ? undefined : countPipeline(rest, find(), selection, body);
  if (counted) {
    const { batch, id } = cursors.start(ns, counted.values() as Source, size, { limit: 1 });
    return cursorReply("firstBatch", batch, id, ns);
  }
  const { aggregatePipeline } = await loadAggregation();
  const resolver = otherCollections(catalog, db, selection.order !== undefined);
  const last = rest.at(-1);
  const writes = last && ("$out" in last || "$merge" in last) ? last : undefined;
  const collection = find();
  const stats = limited(body);
  const input = given ?? (function* () {
    for (const { row, doc } of selected(collection, selection, 0, 0, stats)) {
      yield doc ?? decode(row.doc);
    }
  })();
  const piped = aggregatePipeline(writes ? rest.slice(0, -1) : rest, input, variables, resolver);
  const { order } = selection;
  const results = order ? steps(order, piped) : piped;
  if (writes) {
    const write = await prepareOutput(catalog, db, writes, variables);
    write([...results]);
    return cursorReply("firstBatch", [], 0n, ns);
  }
  const source: Source = (function* () {
    for (const doc of results) yield encode(doc);
  })();
  const { batch, id } = cursors.start(ns, source, size);
  stats.deadline = undefined;
  return cursorReply("firstBatch", batch, id, ns);
}

/** How a pipeline reads the other collections of its database. */
function otherCollections(catalog: Catalog, db: string, collated: boolean): Resolver {
  const open = (name: string) => {
    const other = catalog.find(db, name);
    if (other && other.isView) {
      throw new CommandError(
        "NotImplemented",
        `Joining with the view ${other.ns} is not supported`,
      );
    }
    return other;
  };
  const all = (name: string): Doc[] => {
    const other = open(name);
    return other ? Array.from(rows(other, plan(other, {})), ({ doc }) => decode(doc)) : [];
  };
  const indexed = (name: string, path: string, values: unknown[]): Doc[] | undefined => {
    const other = open(name);
    // In a filter a regular expression is a pattern, in a join a value.
    if (!other || values.some((value) => rankOf(value) === RANK.regex)) return undefined;
    const filter = { [path]: { $in: values } };
    const way = plan(other, filter, { collated });
    if (!way.index || way.intervals.some(({ low }) => !low.length)) return undefined;
    return Array.from(
      matches(other, way, compileFilter(filter), undefined),
      ({ row, doc }) => doc ?? decode(row.doc),
    );
  };
  return Object.assign(all, { indexed });
}

/**
 * What drivers send for `countDocuments`, answered without decoding a document:
 * `[$match?, $skip?, $limit?, { $group: { _id: 1, n: { $sum: 1 } } }]`.
 */
function countPipeline(
  stages: Doc[],
  collection: Collection | undefined,
  selection: Selection,
  body: Doc,
): Uint8Array[] | undefined {
  const rest = [...stages];
  const number = (name: string) => {
    const value = rest[0]?.[name];
    if (!isNum(value)) return 0;
    rest.shift();
    return toNumber(value);
  };
  const skip = number("$skip");
  const limit = number("$limit");
  const group = rest[0]?.$group;
  if (rest.length !== 1 || !isDoc(group) || Object.keys(group).join() !== "_id,n") return undefined;
  if (!isDoc(group.n) || Object.keys(group.n).join() !== "$sum" || group.n.$sum !== 1) {
    return undefined;
  }
  if (group._id !== 1 && group._id !== null) return undefined;
  if (!(skip >= 0) || !(limit >= 0)) return undefined;
  const n = countSelected(collection, selection, skip, limit, limited(body));
  return n ? [encode({ _id: group._id, n })] : [];
}
