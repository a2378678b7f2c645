/**
 * `find`, `getMore`, `killCursors`.
 * https://www.mongodb.com/docs/manual/reference/command/nav-crud/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Projection } from "../language/field_tree.ts";
import { variablesOf } from "../language/load_aggregation.ts";
import { valueAt } from "../language/paths.ts";
import { compileProjection } from "../language/projection.ts";
import type { Collection } from "../storage/collection.ts";
import type { Interval } from "../storage/planner.ts";
import type { Match } from "../storage/scan.ts";
import { resolveView } from "../storage/views.ts";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { withStringOrder } from "../values/collation.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { encodeKey, encodeKeys } from "../values/key_encoding.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { cursorReply } from "./cursor_reply.ts";
import { FIRST_BATCH, type Source, type Tail } from "./cursors.ts";
import { checkFields, collectionName, countField, docField, listField } from "./fields.ts";
import { resting, scanStats, select, selected, type Selection } from "./selection.ts";
import { aggregateView, findStages } from "./view_reads.ts";

const FIND_FIELDS = [
  "filter",
  "sort",
  "projection",
  "hint",
  "skip",
  "limit",
  "batchSize",
  "singleBatch",
  "noCursorTimeout",
  "allowDiskUse",
  "let",
  "allowPartialResults",
  "oplogReplay",
  "collation",
  "tailable",
  "awaitData",
  "returnKey",
  "showRecordId",
  "min",
  "max",
];

/** `find`: the first batch, and a cursor for the rest. */
export async function find(context: CommandContext): Promise<CommandResult> {
  const { services, body, db } = context;
  checkFields(body, FIND_FIELDS);
  const name = collectionName(body);
  const view = resolveView(services.catalog, db, name);
  if (view) return await aggregateView(context, view, findStages(body));
  const collection = services.catalog.find(db, name);
  const filter = docField(body, "filter") ?? {};
  const skip = countField(body, "skip", 0);
  const limit = countField(body, "limit", 0);
  const size = countField(body, "batchSize", FIRST_BATCH);
  const variables = await variablesOf(docField(body, "let"));
  const selection = await select(collection, filter, {
    sort: docField(body, "sort"),
    hint: body.hint,
    variables,
    collation: body.collation,
  });
  boundByKeys(selection, body);
  const projection = await compileProjection(docField(body, "projection"), filter, variables);
  const shape = shapeOf(selection, body, projection);
  const stats = scanStats(body);
  const tail = tailOf(collection, body);
  const source: Source = tail ? tailSource(collection!, selection, shape, skip) : (function* () {
    for (const match of selected(collection, selection, skip, limit, stats)) yield shape(match);
  })();
  const ns = `${db}.${name}`;
  const { batch, id } = services.cursors.start(ns, source, size, {
    single: flag(body.singleBatch),
    limit,
    noTimeout: flag(body.noCursorTimeout),
    tail,
    rest: resting(stats),
  });
  stats.deadline = undefined; // the time until the client comes back is not the command's
  return cursorReply("firstBatch", batch, id, ns);
}

/** What becomes of a document that was found: its projection, or what `returnKey` and `showRecordId` ask for. */
function shapeOf(
  selection: Selection,
  body: Doc,
  projection: Projection | undefined,
): (match: Match) => Uint8Array {
  const { plan, order } = selection;
  const recordId = flag(body.showRecordId);
  if (flag(body.returnKey)) {
    if (typeof plan.index === "object" && plan.index.multikey) {
      throw new CommandError("NotImplemented", "returnKey of a multikey index is not supported");
    }
    const fields = plan.index === "_id" ? ["_id"] : plan.index?.fields ?? [];
    return ({ row, doc }) => {
      const whole = doc ?? decode(row.doc);
      const shown = fields.map((name) => [name, valueAt(whole, name.split(".")) ?? null]);
      return encode(Object.fromEntries(shown));
    };
  }
  if (!projection && !recordId) return ({ row }) => row.doc;
  return ({ row, doc }) =>
    withStringOrder(order, () => {
      const whole = doc ?? decode(row.doc);
      const shown = projection ? projection(whole) : whole;
      return encode(recordId ? { ...shown, $recordId: BigInt(row.rid) } : shown);
    });
}

/** `min` and `max` of a find: keys of the hinted index between which it reads. */
function boundByKeys(selection: Selection, body: Doc): void {
  const min = docField(body, "min");
  const max = docField(body, "max");
  const bounds = [min, max].filter((bound) => bound && Object.keys(bound).length) as Doc[];
  if (!bounds.length) return;
  if (body.hint === undefined) {
    throw new CommandError(
      "Location51173",
      "When using min()/max() a hint of which index to use must be provided",
    );
  }
  const { index } = selection.plan;
  if (!index) throw new CommandError("BadValue", "min and max need an index");
  const fields = index === "_id" ? ["_id"] : index.fields;
  if (bounds.some((bound) => Object.keys(bound).join() !== fields.join())) {
    throw new CommandError(
      "Location51174",
      "The index chosen is not compatible with min/max",
    );
  }
  const key = (bound: Doc) =>
    index === "_id"
      ? encodeKey(bound._id)
      : encodeKeys(fields.map((name) => bound[name]), index.descending);
  const interval: Interval = {
    low: min ? key(min) : new Uint8Array(0),
    high: max ? key(max) : undefined,
  };
  selection.plan = { ...selection.plan, intervals: [interval], exact: false };
}

/** What a tailable find follows; undefined for any other. */
function tailOf(collection: Collection | undefined, body: Doc): Tail | undefined {
  const awaitData = flag(body.awaitData);
  if (!flag(body.tailable)) {
    if (!awaitData) return undefined;
    throw new CommandError(
      "FailedToParse",
      "Cannot set 'awaitData' without also setting 'tailable'",
    );
  }
  const sort = docField(body, "sort") ?? {};
  if (Object.keys(sort).some((name) => name !== "$natural") || flag(body.singleBatch)) {
    throw new CommandError(
      "BadValue",
      flag(body.singleBatch)
        ? "cannot use tailable option with the 'singleBatch' option"
        : "cannot use tailable option with a sort other than {$natural: 1}",
    );
  }
  if (!collection) return undefined;
  if (!collection.capped) {
    throw new CommandError(
      "BadValue",
      `error processing query: ns=${collection.ns} tailable cursor requested on non capped collection`,
    );
  }
  // As the server: there is no tail to hold on to when there is nothing.
  return collection.count ? { awaitData, listeners: collection.insertListeners } : undefined;
}

/** The documents of a capped collection as they come; after the end, those that came since. */
function tailSource(
  collection: Collection,
  { test, order }: Selection,
  shape: (match: Match) => Uint8Array,
  skip: number,
): Source {
  let last = 0;
  return {
    next() {
      if (last && !collection.findRid(last)) {
        throw new CommandError(
          "CappedPositionLost",
          `CollectionScan died due to position in capped collection being deleted. Last seen record id: RecordId(${last})`,
        );
      }
      for (;;) {
        const row = collection.rowAfter(last);
        if (!row) return { done: true, value: undefined };
        last = row.rid;
        const doc = decode(row.doc);
        if (!withStringOrder(order, () => test(doc)) || skip-- > 0) continue;
        return { done: false, value: shape({ row, doc }) };
      }
    },
  };
}

/** `getMore`: the next batch of a cursor. */
export async function getMore({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(body, ["collection", "batchSize", "term", "lastKnownCommittedOpTime"]);
  const id = body.getMore;
  if (typeof id !== "bigint") throw wrongType("getMore.getMore", id, "long");
  if (typeof body.collection !== "string") {
    throw wrongType("getMore.collection", body.collection, "string");
  }
  if (body.collection === "") {
    throw new CommandError("InvalidNamespace", `Invalid namespace specified '${db}.'`);
  }
  const size = countField(body, "batchSize", Infinity) || Infinity;
  const ns = `${db}.${body.collection}`;
  const time = isNum(body.maxTimeMS) ? toNumber(body.maxTimeMS) || undefined : undefined;
  const { batch, id: next } = await services.cursors.awaitNext(id, ns, size, time);
  return cursorReply("nextBatch", batch, next, ns);
}

/** `killCursors`. */
export function killCursors({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["cursors"]);
  const ns = `${db}.${collectionName(body)}`;
  const killed: bigint[] = [];
  const unknown: bigint[] = [];
  for (const id of listField(body, "cursors")) {
    if (typeof id !== "bigint") throw wrongType("killCursors.cursors.0", id, "long");
    (services.cursors.kill(id, ns) ? killed : unknown).push(id);
  }
  return {
    cursorsKilled: killed,
    cursorsNotFound: unknown,
    cursorsAlive: [],
    cursorsUnknown: [],
  };
}
