/** What a command gets to work with. @module */
import type { Catalog } from "../storage/catalog.ts";
import type { Doc } from "../values/bson_view.ts";
import type { Cursors } from "./cursors.ts";
import type { Sessions } from "./sessions.ts";

/** What all commands of one store share. */
export interface Services {
  catalog: Catalog;
  cursors: Cursors;
  sessions: Sessions;
  startedAt: number;
  connections: () => number;
  port: () => number;
}

/** One command being executed. */
export interface CommandContext {
  services: Services;
  body: Doc;
  db: string;
  /** `documents` of an insert, as they came. */
  documents: Uint8Array[] | undefined;
  connectionId: number;
  /** The client's address and port. */
  client: string;
}

/** The answer: a document, `ok: 1` added where it is missing, or its bytes. */
export type CommandResult = Doc | Uint8Array;

/** Executes one command. */
export type Command = (context: CommandContext) => CommandResult | Promise<CommandResult>;
