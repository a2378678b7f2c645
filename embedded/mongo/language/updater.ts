/**
 * Updates: a modifier document, a replacement or a pipeline becomes a function on decoded documents.
 * @module
 */
import { ObjectId, Timestamp } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { equal, isDoc, RANK, rankOf, typeName } from "../values/compare.ts";
import { shellText } from "../values/shell_text.ts";
import { loadAggregation } from "./load_aggregation.ts";
import { compileFilter, isOperatorDoc } from "./matcher.ts";
import { setPath } from "./paths.ts";
import { matchedPosition } from "./positional.ts";
import { type Change, newTimestamp, UPDATE_OPERATORS } from "./update_operators.ts";
import {
  changeAt,
  checkConflicts,
  checkPath,
  comparePaths,
  lookup,
  type Positions,
  resolvePaths,
} from "./update_paths.ts";

/** Makes the updated document from a decoded one, which it may change. */
export interface Update {
  /** A whole new document instead of changes. */
  replacement: boolean;
  apply: (doc: Doc, filter: Doc, inserting: boolean) => Doc;
}

/**
 * Compile an update.
 * @param update modifier document, replacement document or pipeline
 * @param keepEmptyTimestamps whether `Timestamp(0, 0)` in a replacement stays so, instead of the present one
 * @throws CommandError as the server words it
 */
export async function compileUpdate(
  update: unknown,
  arrayFilters: unknown,
  variables?: Doc,
  keepEmptyTimestamps = false,
): Promise<Update> {
  if (Array.isArray(update)) {
    if (arrayFilters !== undefined) {
      throw new CommandError(
        "FailedToParse",
        "arrayFilters may not be specified for pipeline-syle updates",
      );
    }
    return await pipelineUpdate(update, variables);
  }
  if (!isDoc(update)) {
    throw new CommandError(
      "FailedToParse",
      "Update argument must be either an object or an array",
    );
  }
  if (Object.keys(update)[0]?.[0] === "$") return modifierUpdate(update, arrayFilters);
  if (Array.isArray(arrayFilters) && arrayFilters.length) {
    throw new CommandError(
      "FailedToParse",
      "Cannot specify arrayFilters for a replacement-style update",
    );
  }
  return replacementUpdate(update, keepEmptyTimestamps);
}

function idAltered(id: unknown): CommandError {
  return new CommandError(
    "ImmutableField",
    `After applying the update, the (immutable) field '_id' was found to have been altered to _id: ${
      shellText(id)
    }`,
  );
}

function replacementUpdate(given: Doc, keepEmpty: boolean): Update {
  const update = keepEmpty ? given : stamped(given);
  const dollar = Object.keys(update).find((name) => name[0] === "$");
  if (dollar !== undefined) {
    throw new CommandError(
      "DollarPrefixedFieldName",
      `The dollar ($) prefixed field '${dollar}' in '${dollar}' is not allowed in the context of an update's replacement document. Consider using an aggregation pipeline with $replaceWith.`,
    );
  }
  return {
    replacement: true,
    apply: (doc) => {
      const { _id, ...rest } = update;
      const id = doc._id ?? _id;
      if (_id !== undefined && doc._id !== undefined && !equal(_id, doc._id)) throw idAltered(_id);
      return id === undefined ? rest : { _id: id, ...rest };
    },
  };
}

function stamped(update: Doc): Doc {
  const result = { ...update };
  for (const name of Object.keys(result)) {
    const value = result[name];
    if (name !== "_id" && value instanceof Timestamp && value.isZero()) {
      result[name] = newTimestamp();
    }
  }
  return result;
}

const UPDATE_STAGES = ["$addFields", "$set", "$project", "$unset", "$replaceRoot", "$replaceWith"];

const STAGES = new Set(
  ("$addFields $bucket $bucketAuto $changeStream $collStats $count $currentOp $densify $documents $facet $fill " +
    "$geoNear $graphLookup $group $indexStats $limit $listLocalSessions $listSessions $lookup $match $merge $out " +
    "$planCacheStats $project $redact $replaceRoot $replaceWith $sample $search $searchMeta $set $setWindowFields " +
    "$skip $sort $sortByCount $unionWith $unset $unwind").split(" "),
);

/**
 * Refuse a pipeline with a stage that does not exist, before anything is done: the server fails the whole command then.
 * @param update of any kind; what is no pipeline passes
 * @throws CommandError 40324
 */
export function checkStageNames(update: unknown): void {
  if (!Array.isArray(update)) return;
  for (const stage of update) {
    const name = isDoc(stage) ? Object.keys(stage)[0] : undefined;
    if (name === undefined || STAGES.has(name)) continue;
    throw new CommandError("Location40324", `Unrecognized pipeline stage name: '${name}'`);
  }
}

async function pipelineUpdate(stages: unknown[], variables?: Doc): Promise<Update> {
  for (const stage of stages) {
    if (!isDoc(stage)) {
      throw new CommandError(
        "TypeMismatch",
        "Each element of the 'pipeline' array must be an object",
      );
    }
    const name = Object.keys(stage)[0];
    if (name === undefined || !UPDATE_STAGES.includes(name)) {
      checkStageNames([stage]);
      throw new CommandError(
        "InvalidOptions",
        `${name} is not allowed to be used within an update`,
      );
    }
  }
  const { aggregatePipeline } = await loadAggregation();
  return {
    replacement: false,
    apply: (doc) => {
      const [result] = [...aggregatePipeline(stages as Doc[], [doc], variables, () => [])];
      const { _id, ...rest } = result!;
      if (_id !== undefined && doc._id !== undefined && !equal(_id, doc._id)) throw idAltered(_id);
      const id = doc._id ?? _id;
      return id === undefined ? rest : { _id: id, ...rest };
    },
  };
}

interface Step {
  path: string[];
  change: Change;
  onInsert: boolean;
  renameTo?: string[];
}

function modifierUpdate(update: Doc, arrayFilters: unknown): Update {
  const steps: Step[] = [];
  for (const name of Object.keys(update)) {
    const operands = update[name];
    const known = Object.hasOwn(UPDATE_OPERATORS, name) || name === "$rename" ||
      name === "$setOnInsert";
    if (!known) {
      throw new CommandError(
        "FailedToParse",
        `Unknown modifier: ${name}. Expected a valid update modifier or pipeline-style update specified as an array`,
      );
    }
    if (!isDoc(operands)) {
      throw new CommandError(
        "FailedToParse",
        `Modifiers operate on fields but we found type ${
          typeName(operands)
        } instead. For example: {$mod: {<field>: ...}} not {${name}: ${shellText(operands)}}`,
      );
    }
    for (const path of Object.keys(operands)) {
      steps.push(...stepsOf(name, path, operands[path]));
    }
  }
  checkConflicts(steps.map(({ path }) => path));
  const order = steps.sort((a, b) => comparePaths(a.path, b.path));
  const filters = compileArrayFilters(arrayFilters, update, steps);
  return {
    replacement: false,
    apply: (doc, filter, inserting) => {
      const id = doc._id;
      const positions: Positions = {
        filters,
        matched: (path) => matchedPosition(doc, filter, path) ?? matchedPosition(doc, filter),
      };
      // `$` refers to the document as the query saw it, so all paths are resolved first.
      const planned = order.filter((step) => inserting || !step.onInsert)
        .map((step) => ({ step, paths: resolvePaths(doc, step.path, positions) }));
      for (const { step, paths } of planned) {
        if (step.renameTo) rename(doc, step.path, step.renameTo);
        else {
          for (const path of paths) {
            changeAt(doc, path, (value) => step.change(value, doc, path.join(".")));
          }
        }
      }
      if (id !== undefined && !equal(id, doc._id)) {
        const path = steps.find((step) => step.path[0] === "_id")?.path.join(".") ?? "_id";
        throw new CommandError(
          "ImmutableField",
          `Performing an update on the path '${path}' would modify the immutable field '_id'`,
        );
      }
      return doc;
    },
  };
}

function stepsOf(name: string, path: string, operand: unknown): Step[] {
  const parts = checkPath(path);
  if (name === "$rename") return renameSteps(path, parts, operand);
  const onInsert = name === "$setOnInsert";
  const change = UPDATE_OPERATORS[onInsert ? "$set" : name]!(operand, path);
  return [{ path: parts, change, onInsert }];
}

function renameSteps(path: string, parts: string[], operand: unknown): Step[] {
  if (typeof operand !== "string") {
    throw new CommandError(
      "BadValue",
      `The 'to' field for $rename must be a string: ${path}: ${shellText(operand)}`,
    );
  }
  const target = checkPath(operand);
  if (operand === path) {
    throw new CommandError(
      "BadValue",
      `The source and target field for $rename must differ: ${path}: "${operand}"`,
    );
  }
  if ([...parts, ...target].some((part) => part[0] === "$")) {
    throw new CommandError(
      "BadValue",
      `The source and target field for $rename may not be dynamic: ${path}`,
    );
  }
  const keep: Change = (value) => value;
  return [
    { path: parts, change: keep, onInsert: false, renameTo: target },
    // Stands for the target's part in conflicts; it changes nothing itself.
    { path: target, change: keep, onInsert: false },
  ];
}

function rename(doc: Doc, from: string[], to: string[]): void {
  const value = lookup(doc, from);
  if (value === undefined) return;
  changeAt(doc, from, () => undefined);
  // A renamed field goes to the end, also when one of the new name was there.
  changeAt(doc, to, () => undefined);
  changeAt(doc, to, () => value);
}

function compileArrayFilters(
  arrayFilters: unknown,
  update: Doc,
  steps: Step[],
): Map<string, (element: unknown) => boolean> {
  const filters = new Map<string, (element: unknown) => boolean>();
  if (arrayFilters === undefined || arrayFilters === null) return filters;
  if (!Array.isArray(arrayFilters)) {
    throw new CommandError(
      "TypeMismatch",
      "BSON field 'arrayFilters' is the wrong type, expected type 'array'",
    );
  }
  for (const filter of arrayFilters) {
    if (!isDoc(filter)) {
      throw new CommandError("TypeMismatch", "Each array filter must be an object");
    }
    const name = identifierOf(filter);
    if (filters.has(name)) {
      throw new CommandError(
        "FailedToParse",
        `Found multiple array filters with the same top-level field name ${name}`,
      );
    }
    if (!steps.some(({ path }) => path.includes(`$[${name}]`))) {
      throw new CommandError(
        "FailedToParse",
        `The array filter for identifier '${name}' was not used in the update ${shellText(update)}`,
      );
    }
    const test = compileFilter(filter);
    filters.set(name, (element) => test({ [name]: element }));
  }
  return filters;
}

/** The one name that an array filter is about: `x` of `{ "x.a": 1 }`. */
function identifierOf(filter: Doc): string {
  const [name, other] = topLevelNames(filter);
  if (name === undefined) {
    throw new CommandError(
      "FailedToParse",
      "Cannot use an expression without a top-level field name in arrayFilters",
    );
  }
  if (other !== undefined) {
    throw new CommandError(
      "FailedToParse",
      `Error parsing array filter :: caused by :: Expected a single top-level field name, found '${name}' and '${other}'`,
    );
  }
  if (!/^[a-z][a-zA-Z0-9]*$/.test(name)) {
    throw new CommandError(
      "BadValue",
      `Error parsing array filter :: caused by :: The top-level field name must be an alphanumeric string beginning with a lowercase letter, found '${name}'`,
    );
  }
  return name;
}

function topLevelNames(filter: Doc, names = new Set<string>()): Set<string> {
  for (const name of Object.keys(filter)) {
    const value = filter[name];
    if (name[0] === "$") {
      if (Array.isArray(value)) {
        for (const branch of value) if (isDoc(branch)) topLevelNames(branch, names);
      }
    } else names.add(name.split(".")[0]!);
  }
  return names;
}

/**
 * The document that an upsert inserts: what the filter says by equality, then the update.
 * https://www.mongodb.com/docs/manual/reference/method/db.collection.update/#upsert-behavior
 */
export function upsertDocument(filter: Doc, update: Update): Doc {
  const base: Doc = {};
  const equals: [string, unknown][] = [];
  collectEquals(filter, equals);
  for (const [path, value] of equals) {
    if (update.replacement && path !== "_id") continue;
    setPath(base, path.split("."), value);
  }
  const made = update.apply(base, filter, true);
  const { _id, ...rest } = made;
  const id = _id === undefined ? new ObjectId() : _id;
  return { _id: id, ...rest };
}

function collectEquals(filter: Doc, equals: [string, unknown][]): void {
  for (const name of Object.keys(filter)) {
    const condition = filter[name];
    if ((name === "$and" || name === "$or") && Array.isArray(condition)) {
      if (name === "$or" && condition.length > 1) continue;
      for (const branch of condition) if (isDoc(branch)) collectEquals(branch, equals);
    } else if (name[0] === "$") continue;
    else if (!isOperatorDoc(condition)) {
      if (rankOf(condition) !== RANK.regex) addEqual(name, condition, equals);
    } else if ("$eq" in condition) addEqual(name, condition.$eq, equals);
    else if (Array.isArray(condition.$in) && condition.$in.length === 1) {
      addEqual(name, condition.$in[0], equals);
    } else if (Array.isArray(condition.$all) && condition.$all.length === 1) {
      addEqual(name, condition.$all[0], equals);
    }
  }
}

function addEqual(name: string, value: unknown, equals: [string, unknown][]): void {
  if (equals.some(([other]) => other === name)) {
    throw new CommandError(
      "NotSingleValueField",
      `cannot infer query fields to set, path '${name}' is matched twice`,
    );
  }
  equals.push([name, value]);
}
