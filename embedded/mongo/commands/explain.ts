/**
 * `explain`: which way a command would read, and how much that was.
 * https://www.mongodb.com/docs/manual/reference/command/explain/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Collection } from "../storage/collection.ts";
import type { Index, IndexSpec } from "../storage/index.ts";
import type { Plan } from "../storage/planner.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";
import type { CommandContext } from "./context.ts";
import { checkFields, countField, docField } from "./fields.ts";
import { hostName, VERSION } from "./handshake.ts";
import { select, selected } from "./selection.ts";

interface Explained {
  filter: Doc;
  sort?: Doc;
  hint?: unknown;
  collation?: unknown;
  skip: number;
  limit: number;
}

function parts(command: Doc): Explained {
  const none = { skip: 0, limit: 0 };
  switch (Object.keys(command)[0]) {
    case "find":
      return {
        filter: docField(command, "filter") ?? {},
        sort: docField(command, "sort"),
        hint: command.hint,
        collation: command.collation,
        skip: countField(command, "skip", 0),
        limit: countField(command, "limit", 0),
      };
    case "count":
    case "distinct":
      return {
        ...none,
        filter: docField(command, "query") ?? {},
        hint: command.hint,
        collation: command.collation,
      };
    case "findAndModify":
      return {
        ...none,
        filter: docField(command, "query") ?? {},
        sort: docField(command, "sort"),
        limit: 1,
      };
    case "update":
    case "delete": {
      const list = (command.updates ?? command.deletes) as Doc[] | undefined;
      const one = Array.isArray(list) && isDoc(list[0]) ? list[0] : {};
      return {
        ...none,
        filter: docField(one, "q") ?? {},
        hint: one.hint,
        collation: one.collation,
      };
    }
    case "aggregate": {
      const stages = Array.isArray(command.pipeline) ? command.pipeline as Doc[] : [];
      const filter = isDoc(stages[0]?.$match) ? stages[0]!.$match as Doc : {};
      return { ...none, filter, hint: command.hint, collation: command.collation };
    }
    default:
      throw new CommandError(
        "CommandNotFound",
        `Explain failed due to unknown command: ${Object.keys(command)[0]}`,
      );
  }
}

function stageOf(collection: Collection | undefined, plan: Plan): Doc {
  if (!collection) return { stage: "EOF" };
  if (plan.union) {
    return {
      stage: "OR",
      inputStages: plan.union.map((one) => stageOf(collection, one)),
    };
  }
  const direction = plan.reverse ? "backward" : "forward";
  if (!plan.index) return { stage: "COLLSCAN", direction };
  const id = plan.index === "_id";
  const spec: IndexSpec = plan.index === "_id"
    ? { v: 2, name: "_id_", key: { _id: 1 }, unique: true }
    : plan.index.spec;
  return {
    stage: "FETCH",
    inputStage: {
      stage: "IXSCAN",
      keyPattern: spec.key,
      indexName: spec.name,
      isMultiKey: !id && (plan.index as Index).multikey,
      isUnique: !!spec.unique,
      isSparse: !!spec.sparse,
      isPartial: spec.partialFilterExpression !== undefined,
      indexVersion: 2,
      direction,
    },
  };
}

/** Explain another command, without its effects. */
export async function explain({ services, body, db }: CommandContext): Promise<Doc> {
  checkFields(body, ["verbosity"]);
  const command = body.explain;
  if (!isDoc(command)) throw wrongType("explain", command, "object");
  const name = command[Object.keys(command)[0] ?? ""];
  if (typeof name !== "string") throw wrongType("explain", name, "string");
  const { filter, sort, skip, limit, ...options } = parts(command);
  const collection = services.catalog.find(db, name);
  const selection = await select(collection, filter, { sort, ...options });
  const read = stageOf(collection, selection.plan);
  const winningPlan = selection.plan.sorted
    ? read
    : { stage: "SORT", sortPattern: sort, inputStage: read };
  const result: Doc = {
    explainVersion: "1",
    queryPlanner: {
      namespace: `${db}.${name}`,
      indexFilterSet: false,
      parsedQuery: filter,
      winningPlan,
      rejectedPlans: [],
    },
  };
  if (body.verbosity !== "queryPlanner") {
    const stats = { examined: 0 };
    const start = performance.now();
    let n = 0;
    for (const _ of selected(collection, selection, skip, limit, stats)) n++;
    result.executionStats = {
      executionSuccess: true,
      nReturned: n,
      executionTimeMillis: Math.round(performance.now() - start),
      totalKeysExamined: selection.plan.index || selection.plan.union ? stats.examined : 0,
      totalDocsExamined: stats.examined,
      executionStages: { ...winningPlan, nReturned: n },
    };
  }
  result.command = command;
  result.serverInfo = { host: hostName(), port: services.port(), version: VERSION };
  return result;
}
