/**
 * `aggregate`. https://www.mongodb.com/docs/manual/reference/command/aggregate/
 * @module
 */
import { decode, type Doc, encode } from "../bson_view.ts";
import type { Collection } from "../collection.ts";
import { isDoc } from "../compare.ts";
import { FIRST_BATCH, type Source } from "../cursors.ts";
import { CommandError } from "../errors.ts";
import { language } from "../expressions.ts";
import { isNum, toNumber } from "../numbers.ts";
import { checkFields, countField, docField, listField, wrongType } from "../options.ts";
import { plan } from "../planner.ts";
import { rows } from "../scan.ts";
import { cursorBody } from "../wire.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { prepareOutput } from "./output.ts";
import { countSelected, limited, select, selected, type Selection } from "./query.ts";

const REFUSED: Record<string, string> = {
  $changeStream: "The $changeStream stage is only supported on replica sets",
};
const UNSUPPORTED = [
  "$collStats",
  "$currentOp",
  "$geoNear",
  "$indexStats",
  "$listLocalSessions",
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

/** Run a pipeline. */
export async function aggregate({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(
    body,
    ["pipeline", "cursor", "allowDiskUse", "hint", "let", "bypassDocumentValidation"],
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
  const variables = docField(body, "let");
  const { catalog, cursors } = services;
  const find = () => typeof name === "string" ? catalog.find(db, name) : undefined;

  // What the planner understands is taken off the front of the pipeline: `$match`, then `$sort`.
  let rest = stages;
  const filter = isDoc(rest[0]?.$match) ? rest[0]!.$match as Doc : {};
  if (isDoc(rest[0]?.$match)) rest = rest.slice(1);
  const sortable = isDoc(rest[0]?.$sort) && Object.values(rest[0]!.$sort as Doc).every(isNum);
  const sort = sortable ? rest[0]!.$sort as Doc : undefined;
  const selection = await select(find(), filter, { sort, hint: body.hint, variables });
  // Sorting is the stage's own work unless an index does it.
  if (sort && Object.keys(sort).length && selection.plan.sorted && selection.plan.index) {
    rest = rest.slice(1);
  } else selection.plan = { ...selection.plan, sorted: true };

  const ns = `${db}.${typeof name === "string" ? name : "$cmd.aggregate"}`;
  const counted = countPipeline(rest, find(), selection, body);
  if (counted) {
    const { batch, id } = cursors.start(ns, counted.values() as Source, size, { limit: 1 });
    return cursorBody("firstBatch", batch, id, ns);
  }
  const { aggregatePipeline } = await language();
  const resolver = (from: string): Doc[] => {
    const other = catalog.find(db, from);
    return other ? Array.from(rows(other, plan(other, {})), ({ doc }) => decode(doc)) : [];
  };
  const last = rest.at(-1);
  const writes = last && ("$out" in last || "$merge" in last) ? last : undefined;
  const collection = find();
  const stats = limited(body);
  const input = (function* () {
    for (const { row, doc } of selected(collection, selection, 0, 0, stats)) {
      yield doc ?? decode(row.doc);
    }
  })();
  const results = aggregatePipeline(writes ? rest.slice(0, -1) : rest, input, variables, resolver);
  if (writes) {
    const write = await prepareOutput(catalog, db, writes, variables);
    write([...results]);
    return cursorBody("firstBatch", [], 0n, ns);
  }
  const source: Source = (function* () {
    for (const doc of results) yield encode(doc);
  })();
  const { batch, id } = cursors.start(ns, source, size);
  stats.deadline = undefined;
  return cursorBody("firstBatch", batch, id, ns);
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
