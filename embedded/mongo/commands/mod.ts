/** Every command, by the name it has on the wire. @module */
import { adminCommands } from "./admin.ts";
import { aggregate } from "./aggregate.ts";
import type { Command } from "./context.ts";
import { explain } from "./explain.ts";
import { handshakeCommands } from "./handshake.ts";
import { insert } from "./insert.ts";
import { count, distinct, find, getMore, killCursors } from "./query.ts";
import { findAndModify, remove, update } from "./update.ts";

/** Every command. */
export const commands: Record<string, Command> = {
  ...handshakeCommands,
  ...adminCommands,
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
