/**
 * From a request to its answer: find the command, execute it, wait until its writes are on disk.
 * @module
 */
import { Double } from "bson";
import type { CommandContext, CommandResult, Services } from "../commands/context.ts";
import { checkGeneric } from "../commands/fields.ts";
import { commands } from "../commands/mod.ts";
import { CommandError, errorFields, StorageError } from "../errors.ts";
import { loadRegexEngine, needsRegexEngine, resetPatternTime } from "../language/regex.ts";
import { checkDatabase } from "../storage/catalog.ts";
import { type Doc, encode } from "../values/bson_view.ts";
import type { Login } from "./auth.ts";
import { answer, type Request } from "./wire.ts";

// Doubles, as the server's are.
const OK = new Double(1);
const FAILED = new Double(0);

/** The connection that a request came on. */
export interface Peer {
  id: number;
  client: string;
  /** Absent when the store has no password. */
  login: Login | undefined;
  /** It has sent a command, so there is a driver at the other end. */
  greeted: boolean;
}

/** The answer to a failure, encoded. */
export function errorBody(error: unknown): Uint8Array {
  const { code, codeName, errmsg, extra } = errorFields(error);
  const { requestId: _, ...rest } = extra;
  return encode({ ok: FAILED, errmsg, code, codeName, ...rest });
}

/**
 * Execute a request.
 * @returns the whole answer, or undefined when the client wants none
 */
export async function dispatch(
  services: Services,
  request: Request,
  peer: Peer,
): Promise<Uint8Array | undefined> {
  const { engine } = services.catalog;
  const before = engine.rollbacks;
  let body: Uint8Array;
  try {
    if (needsRegexEngine(request.body)) await loadRegexEngine();
    resetPatternTime();
    const result = execute(services, request, peer);
    const done = result instanceof Promise ? await result : result;
    // A command that took several turns may have written in a transaction that was rolled back since.
    const waiting = engine.committed(writes(request) ? before : undefined);
    // The commit may fail before the line that awaits it; the process must not end with an unhandled rejection.
    waiting.catch(() => {});
    body = done instanceof Uint8Array ? done : encode("ok" in done ? done : { ...done, ok: OK });
    if (!request.silent) await waiting;
  } catch (error) {
    // A fault of ours may have left a write half done: none of it may be committed. SQLite's errors have done so already.
    const known = error instanceof CommandError || error instanceof StorageError;
    if (!known && writes(request)) engine.fail(error);
    // What was written before the error (an ordered bulk) is answered for, so it must be on disk.
    else await engine.committed().catch(() => {});
    body = errorBody(error);
  }
  return request.silent ? undefined : answer(request, body);
}

const WRITES = /^(insert|update|delete|findandmodify|aggregate|create|drop|rename|collmod)/i;

function writes({ body }: Request): boolean {
  return WRITES.test(Object.keys(body)[0] ?? "");
}

function execute(
  services: Services,
  request: Request,
  peer: Peer,
): CommandResult | Promise<CommandResult> {
  const { body } = request;
  const name = Object.keys(body)[0];
  if (name === undefined) throw new CommandError("CommandNotFound", "no such command: ''");
  peer.greeted = true;
  const reply = peer.login?.intercept(body);
  if (reply) return reply;
  const db = body.$db;
  if (typeof db !== "string") {
    throw new CommandError("IDLFailedToParse", "OP_MSG requests require a $db argument");
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) throw new CommandError("CommandNotFound", `no such command: '${name}'`);
  if (request.legacy && !/^(hello|ismaster)$/i.test(name)) {
    throw new CommandError(
      "UnsupportedOpQueryCommand",
      `Unsupported OP_QUERY command: ${name}. The client driver may require an upgrade. For more details see https://dochub.mongodb.org/core/legacy-opcode-removal`,
    );
  }
  checkDatabase(db);
  checkGeneric(body);
  if (body.lsid !== undefined) services.sessions.used(body.lsid);
  const context: CommandContext = {
    services,
    body,
    db,
    documents: request.documents,
    connectionId: peer.id,
    client: peer.client,
  };
  if (peer.login && /^(hello|ismaster)$/i.test(name)) {
    return { ...command(context) as Doc, ...peer.login.helloFields(body) };
  }
  return command(context);
}
