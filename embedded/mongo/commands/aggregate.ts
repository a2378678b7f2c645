/**
 * `aggregate`. https://www.mongodb.com/docs/manual/reference/command/aggregate/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Resolver } from "../language/aggregation.ts";
import { loadAggregation, variablesOf } from "../language/load_aggregation.ts";
import { compileFilter } from "../language/matcher.ts";
import { MAX_DOCUMENT, MAX_HELD } from "../limits.ts";
import type { Catalog } from "../storage/catalog.ts";
import type { Collection } from "../storage/collection.ts";
import { plan } from "../storage/planner.ts";
import { type Match, matches, rows } from "../storage/scan.ts";
import { resolveView } from "../storage/views.ts";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { stepsWithStringOrder } from "../values/collation.ts";
import { isDoc, RANK, rankOf } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { cursorReply } from "./cursor_reply.ts";
import { FIRST_BATCH, type Source } from "./cursors.ts";
import { sourceDocuments } from "./diagnostics.ts";
import { checkFields, countField, docField, listField } from "./fields.ts";
import { prepareOutput } from "./output_stages.ts";
import {
  countSelected,
  resting,
  scanStats,
  select,
  selected,
  type Selection,
} from "./selection.ts";

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
  const view = typeof name === "string" ? resolveView(services.catalog, db, name) : undefined;
  if (!view) {
    const ns = as ?? `${db}.${typeof name === "string" ? name : "$cmd.aggregate"}`;
    return await runPipeline(context, stages, ns, size);
  }
  if (body.collation === undefined && view.collation) body.collation = view.collation;
  const pipeline = [...view.pipeline, ...stages];
  const inner = { ...body, aggregate: view.name, pipeline };
  return await aggregate({ ...context, body: inner }, `${db}.${name}`);
}

/** Run the stages over a collection, or over what their first stage brings. */
async function runPipeline(
  context: CommandContext,
  stages: Doc[],
  ns: string,
  size: number,
): Promise<CommandResult> {
  const { services: { catalog, cursors }, body, db } = context;
  const name = body.aggregate;
  const variables = await variablesOf(docField(body, "let"));
  const find = () => typeof name === "string" ? catalog.find(db, name) : undefined;
  const given = sourceDocuments(context, stages[0]);
  const { selection, rest } = given
    ? {
      selection: await select(find(), {}, {
        hint: body.hint,
        variables,
        collation: body.collation,
      }),
      rest: stages.slice(1),
    }
    : await planned(find(), stages, body, variables);
  const counted = given ? undefined : countPipeline(rest, find(), selection, body);
  if (counted) {
    const { batch, id } = cursors.start(ns, counted.values() as Source, size, { limit: 1 });
    return cursorReply("firstBatch", batch, id, ns);
  }
  const { aggregatePipeline } = await loadAggregation();
  const { order } = selection;
  const resolver = otherCollections(catalog, db, order !== undefined);
  const last = rest.at(-1);
  const output = last && ("$out" in last || "$merge" in last) ? last : undefined;
  const collection = find();
  const stats = scanStats(body);
  const input = given ?? documents(selected(collection, selection, 0, 0, stats), rest);
  const piped = aggregatePipeline(output ? rest.slice(0, -1) : rest, input, variables, resolver);
  const results = order ? stepsWithStringOrder(order, piped) : piped;
  if (output) {
    const write = await prepareOutput(catalog, db, output, variables);
    write(results);
    return cursorReply("firstBatch", [], 0n, ns);
  }
  const source: Source = (function* () {
    for (const doc of results) yield encodeResult(doc);
  })();
  const { batch, id } = cursors.start(ns, source, size, { rest: resting(stats) });
  stats.deadline = undefined; // the time until the client comes back is not the command's
  return cursorReply("firstBatch", batch, id, ns);
}

/** Stages that take one document after another; the others hold all that they get. */
const STREAMING = new Set(
  "$match $project $set $addFields $unset $replaceRoot $replaceWith $limit $skip $unwind $lookup $redact $count $out"
    .split(" "),
);

/** The documents that a pipeline reads, as long as its stages can hold them. */
function* documents(found: Iterable<Match>, stages: Doc[]): Generator<Doc, void> {
  const holding = stages.map((stage) => Object.keys(stage)[0]!).find((name) =>
    !STREAMING.has(name)
  );
  let bytes = 0;
  for (const { row, doc } of found) {
    bytes += row.doc.length;
    if (holding && bytes > MAX_HELD) throw tooLarge(holding);
    yield doc ?? decode(row.doc);
  }
}

function tooLarge(what: string): CommandError {
  return new CommandError(
    "ExceededMemoryLimit",
    `Exceeded memory limit for ${what}: the embedded store holds at most ${MAX_HELD} bytes of documents`,
  );
}

function encodeResult(doc: Doc): Uint8Array {
  const bytes = encode(doc);
  if (bytes.length <= MAX_DOCUMENT) return bytes;
  throw new CommandError(
    "BSONObjectTooLarge",
    `BSONObj size: ${bytes.length} is invalid. Size must be between 0 and ${MAX_DOCUMENT}`,
  );
}

/** Take what the planner understands off the front of a pipeline: `$match`, then `$sort`. */
async function planned(
  collection: Collection | undefined,
  stages: Doc[],
  body: Doc,
  variables: Doc | undefined,
): Promise<{ selection: Selection; rest: Doc[] }> {
  let rest = stages;
  const filter = isDoc(rest[0]?.$match) ? rest[0].$match : undefined;
  if (filter) rest = rest.slice(1);
  const first = rest[0]?.$sort;
  const sort = isDoc(first) && Object.values(first).every(isNum) ? first : undefined;
  const selection = await select(collection, filter ?? {}, {
    sort,
    hint: body.hint,
    variables,
    collation: body.collation,
  });
  // Sorting is the stage's own work unless an index does it.
  if (sort && Object.keys(sort).length && selection.plan.sorted && selection.plan.index) {
    rest = rest.slice(1);
  } else selection.plan = { ...selection.plan, sorted: true };
  return { selection, rest };
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
    if (!other) return [];
    let bytes = 0;
    return Array.from(rows(other, plan(other, {})), ({ doc }) => {
      bytes += doc.length;
      if (bytes > MAX_HELD) throw tooLarge(`joining all of ${other.ns}`);
      return decode(doc);
    });
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
  const n = countSelected(collection, selection, skip, limit, scanStats(body));
  return n ? [encode({ _id: group._id, n })] : [];
}
