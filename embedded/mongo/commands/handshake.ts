/**
 * Commands that drivers send on their own: the handshake, sessions, and questions about the server.
 * @module
 */
import { hostname } from "node:os";
import { UUID } from "bson";
import { CommandError } from "../errors.ts";
import { MAX_DOCUMENT, MAX_MESSAGE, MAX_WRITE_BATCH } from "../limits.ts";
import type { Command, CommandContext } from "./context.ts";
import { listField } from "./fields.ts";
import { SESSION_MINUTES } from "./sessions.ts";

/** The MongoDB whose behaviour is meant. */
export const VERSION = "7.0.14";

/** This machine's name, or `localhost` where the process may not know it (`--allow-sys`). */
export function hostName(): string {
  try {
    return hostname();
  } catch {
    return "localhost";
  }
}

// https://www.mongodb.com/docs/manual/reference/command/hello/ , of a standalone server.
function hello({ connectionId }: CommandContext, legacy: boolean) {
  return {
    helloOk: true,
    [legacy ? "ismaster" : "isWritablePrimary"]: true,
    maxBsonObjectSize: MAX_DOCUMENT,
    maxMessageSizeBytes: MAX_MESSAGE,
    maxWriteBatchSize: MAX_WRITE_BATCH,
    localTime: new Date(),
    logicalSessionTimeoutMinutes: SESSION_MINUTES,
    connectionId,
    minWireVersion: 0,
    maxWireVersion: 21,
    readOnly: false,
  };
}

const nothing: Command = () => ({});

function needsReplicaSet(name: string): Command {
  return () => {
    throw new CommandError("NoReplicationEnabled", `not running with --replSet (${name})`);
  };
}

function noUsers(): never {
  throw new CommandError("AuthenticationFailed", "Authentication failed.");
}

function noTransaction(): never {
  throw new CommandError(
    "IllegalOperation",
    "Transaction numbers are only allowed on a replica set member or mongos",
  );
}

const buildInfo: Command = () => ({
  version: VERSION,
  gitVersion: "0000000000000000000000000000000000000000",
  modules: ["event-sink"],
  versionArray: [...VERSION.split(".").map(Number), 0],
  bits: 64,
  debug: false,
  maxBsonObjectSize: MAX_DOCUMENT,
  storageEngines: ["sqlite"],
});

/** The commands of this file, by name. */
export const handshakeCommands: Record<string, Command> = {
  hello: (context) => hello(context, false),
  isMaster: (context) => hello(context, true),
  ismaster: (context) => hello(context, true),
  // With a password these are the login's; without one there is nobody to log in as.
  saslStart: noUsers,
  saslContinue: noUsers,
  ping: nothing,
  buildInfo,
  buildinfo: buildInfo,
  startSession: () => ({
    id: { id: new UUID() },
    timeoutMinutes: SESSION_MINUTES,
  }),
  endSessions: ({ services, body }) => {
    for (const id of listField(body, "endSessions")) services.sessions.ended(id);
    return {};
  },
  refreshSessions: ({ services, body }) => {
    for (const id of listField(body, "refreshSessions")) services.sessions.used(id);
    return {};
  },
  killSessions: nothing,
  killAllSessions: ({ services }) => {
    services.sessions.clear();
    return {};
  },
  commitTransaction: noTransaction,
  abortTransaction: noTransaction,
  connectionStatus: () => ({
    authInfo: { authenticatedUsers: [], authenticatedUserRoles: [] },
  }),
  whatsmyuri: ({ client }) => ({ you: client }),
  getParameter: ({ body }) => {
    const names = Object.keys(body);
    const known: Record<string, unknown> = {
      featureCompatibilityVersion: { version: "7.0" },
      authenticationMechanisms: ["SCRAM-SHA-256"],
      enableTestCommands: false,
      requireApiVersion: false,
    };
    const all = body.getParameter === "*";
    const found = Object.fromEntries(
      Object.entries(known).filter(([name]) => all || names.includes(name)),
    );
    if (!Object.keys(found).length) {
      throw new CommandError("InvalidOptions", "no option found to get");
    }
    return found;
  },
  serverStatus: ({ services }) => ({
    host: `${hostName()}:${services.port()}`,
    version: VERSION,
    process: "event-sink",
    pid: BigInt(Deno.pid),
    uptime: Math.floor((Date.now() - services.startedAt) / 1000),
    localTime: new Date(),
    connections: { current: services.connections() },
    metrics: { cursor: { open: { total: BigInt(services.cursors.size) } } },
    storageEngine: { name: "sqlite", persistent: true },
  }),
  hostInfo: () => ({
    system: { currentTime: new Date(), hostname: hostName(), cpuAddrSize: 64 },
    os: { type: Deno.build.os, name: Deno.build.os, version: "" },
    extra: {},
  }),
  getLog: ({ body }) =>
    body.getLog === "*"
      ? { names: ["global", "startupWarnings"] }
      : { totalLinesWritten: 0, log: [] },
  getCmdLineOpts: () => ({ argv: ["event-sink"], parsed: {} }),
  getFreeMonitoringStatus: () => ({ state: "disabled" }),
  logout: nothing,
  fsync: () => ({ numFiles: 1 }),
  replSetGetStatus: needsReplicaSet("replSetGetStatus"),
  replSetGetConfig: needsReplicaSet("replSetGetConfig"),
};
