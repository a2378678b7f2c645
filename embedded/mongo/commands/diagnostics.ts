/**
 * What the store says of itself: statistics, sessions, operations, users; as commands and as pipeline stages.
 * https://www.mongodb.com/docs/manual/reference/command/nav-diagnostic/
 * @module
 */
import { Int32 } from "bson";
import { CommandError } from "../errors.ts";
import { type Collection, refuseView } from "../storage/collection.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { Command, CommandContext, CommandResult } from "./context.ts";
import { checkFields, collectionName } from "./fields.ts";
import { hostName } from "./handshake.ts";

function host({ services }: CommandContext): string {
  return `${hostName()}:${services.port()}`;
}

function scaleOf(body: Doc): number {
  const { scale } = body;
  if (scale === undefined || scale === null) return 1;
  if (!isNum(scale)) throw wrongType("scale", scale, "number");
  const number = Math.trunc(toNumber(scale));
  if (number < 1) {
    throw new CommandError("BadValue", `scale has to be >= 1, is ${number}`);
  }
  return number;
}

function storageStats(collection: Collection | undefined, scale: number): Doc {
  const size = collection?.size() ?? 0;
  const count = collection?.count ?? 0;
  const names = collection ? ["_id_", ...collection.indexes.map(({ spec }) => spec.name)] : [];
  const { capped = false, max, size: maxSize } = collection?.options ?? {};
  return {
    size: Math.floor(size / scale),
    count,
    ...(count ? { avgObjSize: Math.floor(size / count) } : {}),
    numOrphanDocs: 0,
    storageSize: Math.floor(size / scale),
    freeStorageSize: 0,
    capped,
    ...(capped ? { max: max ?? 0, maxSize } : {}),
    nindexes: names.length,
    indexDetails: {},
    indexBuilds: [],
    totalIndexSize: 0,
    totalSize: Math.floor(size / scale),
    // SQLite does not say how large one table is.
    indexSizes: Object.fromEntries(names.map((name) => [name, 0])),
    scaleFactor: scale,
  };
}

const collStats: Command = ({ services, body, db }) => {
  checkFields(body, ["scale"]);
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  if (collection) refuseView(collection);
  return { ns: `${db}.${name}`, ...storageStats(collection, scaleOf(body)) };
};

const dbStats: Command = ({ services, body, db }) => {
  checkFields(body, ["scale", "freeStorage"]);
  const scale = scaleOf(body);
  const all = services.catalog.list(db);
  const collections = all.filter((one) => !one.isView);
  const size = collections.reduce((sum, collection) => sum + collection.size(), 0);
  const objects = collections.reduce((sum, { count }) => sum + count, 0);
  return {
    db,
    collections: BigInt(collections.length),
    views: BigInt(all.length - collections.length),
    objects: BigInt(objects),
    avgObjSize: objects ? size / objects : 0,
    dataSize: size / scale,
    storageSize: size / scale,
    indexes: BigInt(collections.reduce((sum, { indexes }) => sum + indexes.length + 1, 0)),
    indexSize: 0,
    totalSize: size / scale,
    scaleFactor: BigInt(scale),
  };
};

const validate: Command = ({ services, body, db }) => {
  checkFields(
    body,
    ["full", "repair", "metadata", "scandata", "background", "checkBSONConformance"],
  );
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  if (!collection) {
    throw new CommandError(
      "NamespaceNotFound",
      `Collection '${db}.${name}' does not exist to validate.`,
    );
  }
  refuseView(collection);
  const names = ["_id_", ...collection.indexes.map(({ spec }) => spec.name)];
  return {
    ns: collection.ns,
    uuid: collection.uuid,
    nInvalidDocuments: 0,
    nNonCompliantDocuments: 0,
    nrecords: collection.count,
    nIndexes: names.length,
    keysPerIndex: Object.fromEntries(
      names.map((index, i) => [index, i ? entryCount(collection, i - 1) : collection.count]),
    ),
    indexDetails: Object.fromEntries(names.map((index) => [index, { valid: true }])),
    valid: true,
    repaired: false,
    warnings: [],
    errors: [],
    extraIndexEntries: [],
    missingIndexEntries: [],
    corruptRecords: [],
  };
};

function entryCount(collection: Collection, index: number): number {
  const { table } = collection.indexes[index]!;
  return Number(collection.engine.get(`SELECT count(*) AS n FROM ${table}`)!.n);
}

// Only the command that asks is running: there is one thread, and it is answering.
function operation(context: CommandContext): Doc {
  const { body, client, connectionId, db } = context;
  return {
    type: "op",
    host: host(context),
    desc: `conn${connectionId}`,
    connectionId,
    client,
    active: true,
    currentOpTime: new Date().toISOString(),
    opid: connectionId,
    secs_running: 0n,
    microsecs_running: 0n,
    op: "command",
    ns: `${db}.$cmd.aggregate`,
    command: body,
    numYields: 0,
    waitingForLock: false,
  };
}

function adminOnly({ db }: CommandContext, name: string): void {
  if (db === "admin") return;
  throw new CommandError("Unauthorized", `${name} may only be run against the admin database.`);
}

const currentOp: Command = (context) => {
  adminOnly(context, "currentOp");
  return { inprog: [operation(context)] };
};

const profile: Command = ({ body }) => {
  checkFields(body, ["slowms", "sampleRate", "filter"]);
  const level = body.profile;
  if (!isNum(level)) throw wrongType("profile.profile", level, "long");
  if (toNumber(level) > 0) {
    throw new CommandError("NotImplemented", "The profiler is not supported by the embedded store");
  }
  return { was: 0, slowms: 100, sampleRate: new Int32(1) };
};

const noneOf = (field: string): Command => () => ({ [field]: [] });

/** Stages that yield documents of their own: each gets what stands behind its name. */
const SOURCES: Record<string, (context: CommandContext, spec: Doc) => Doc[]> = {
  $listLocalSessions: ({ services }) => services.sessions.list(),
  $currentOp: (context) => {
    adminOnly(context, "$currentOp");
    return [operation(context)];
  },
  $indexStats: (context) => {
    const { services, body, db } = context;
    const collection = services.catalog.find(db, collectionName(body));
    if (!collection) return [];
    refuseView(collection);
    const since = new Date(services.startedAt);
    const stats = (name: string, key: Doc, ops: number): Doc => ({
      name,
      key,
      host: host(context),
      accesses: { ops: BigInt(ops), since },
    });
    return [
      stats("_id_", { _id: 1 }, collection.idReads),
      ...collection.indexes.map(({ spec, reads }) => stats(spec.name, spec.key, reads)),
    ];
  },
  $collStats: (context, spec) => {
    const { services, body, db } = context;
    const name = collectionName(body);
    const collection = services.catalog.find(db, name);
    if (!collection) {
      throw new CommandError("NamespaceNotFound", `Collection [${db}.${name}] not found.`);
    }
    const result: Doc = { ns: `${db}.${name}`, host: host(context), localTime: new Date() };
    for (const part of Object.keys(spec)) {
      const options = spec[part];
      if (!isDoc(options)) throw wrongType(`$collStats.${part}`, options, "object");
      if (part === "count") result.count = collection.count;
      else if (part === "storageStats") {
        result.storageStats = storageStats(collection, scaleOf(options));
      } else {
        throw new CommandError("NotImplemented", `$collStats with ${part} is not supported`);
      }
    }
    return [result];
  },
};
/** These stand behind `aggregate: 1`, the others behind the name of a collection. */
const OF_DATABASE = ["$listLocalSessions", "$currentOp"];

/**
 * The documents of a first stage that reads no collection; undefined for any other.
 * @throws CommandError InvalidNamespace where the stage does not belong
 */
export function sourceDocuments(
  context: CommandContext,
  stage: Doc | undefined,
): Doc[] | undefined {
  const name = Object.keys(stage ?? {})[0];
  if (name === undefined || !Object.hasOwn(SOURCES, name)) return undefined;
  const ofDatabase = typeof context.body.aggregate !== "string";
  if (ofDatabase !== OF_DATABASE.includes(name)) {
    throw new CommandError(
      "InvalidNamespace",
      ofDatabase
        ? `${name} must be run against a collection`
        : `${name} must be run against the database with {aggregate: 1}, not a collection`,
    );
  }
  const spec = stage![name];
  if (!isDoc(spec)) throw new CommandError("FailedToParse", `${name} needs an object`);
  return SOURCES[name]!(context, spec);
}

/**
 * `listCommands`.
 * @param names gives the names of all commands, which only `mod.ts` knows
 */
export function listCommands(names: () => string[]): Command {
  return (): CommandResult => ({
    commands: Object.fromEntries(names().sort().map((name) => [name, { help: "" }])),
  });
}

/** The commands of this file, by name. */
export const diagnosticCommands: Record<string, Command> = {
  collStats,
  collstats: collStats,
  dbStats,
  dbstats: dbStats,
  validate,
  currentOp,
  profile,
  usersInfo: noneOf("users"),
  rolesInfo: noneOf("roles"),
};
