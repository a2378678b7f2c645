/** Every command, by the name it has on the wire. @module */
import { adminCommands } from "./admin.ts";
import { aggregate } from "./aggregate.ts";
import type { Command } from "./context.ts";
import { diagnosticCommands, listCommands } from "./diagnostics.ts";
import { explain } from "./explain.ts";
import { handshakeCommands } from "./handshake.ts";
import { indexCommands } from "./indexes.ts";
import { insert } from "./insert.ts";
import { count, distinct } from "./count.ts";
import { find, getMore, killCursors } from "./find.ts";
import { findAndModify, remove, update } from "./update.ts";

/** Every command. */
export const commands: Record<string, Command> = {
  listCommands: listCommands(() => Object.keys(commands)),
  ...diagnosticCommands,
  ...handshakeCommands,
  ...adminCommands,
  ...indexCommands,
  insert,
  update,
  delete: remove,
  findAndModify,
  findandmodify: findAndModify,
  find,
  getMore,
  killCursors,
  count,
  distinct,
  aggregate,
  explain,
};
