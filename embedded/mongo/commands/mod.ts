/** Every command, by the name it has on the wire. @module */
import { adminCommands } from "./admin.ts";
import { aggregate } from "./aggregate.ts";
import type { Command } from "./context.ts";
import { count, distinct } from "./count.ts";
import { remove } from "./delete.ts";
import { diagnosticCommands, listCommands } from "./diagnostics.ts";
import { explain } from "./explain.ts";
import { find, getMore, killCursors } from "./find.ts";
import { findAndModify } from "./find_and_modify.ts";
import { handshakeCommands } from "./handshake.ts";
import { indexCommands } from "./indexes.ts";
import { insert } from "./insert.ts";
import { update } from "./update.ts";

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
