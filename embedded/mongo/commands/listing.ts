/** What the commands of collections and of indexes share. @module */
import { CommandError } from "../errors.ts";
import type { Collection } from "../storage/collection.ts";
import { type Doc, encode } from "../values/bson_view.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { cursorReply } from "./cursor_reply.ts";
import { FIRST_BATCH } from "./cursors.ts";
import { collectionName, countField, docField } from "./fields.ts";

/**
 * The collection that a command names.
 * @throws CommandError NamespaceNotFound
 */
export function existingCollection({ services, body, db }: CommandContext): Collection {
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  if (!collection) throw new CommandError("NamespaceNotFound", `ns does not exist: ${db}.${name}`);
  return collection;
}

/** The first batch of a list of documents, and a cursor for the rest. */
export function listReply(
  { services, body }: CommandContext,
  documents: Doc[],
  ns: string,
): CommandResult {
  const size = countField(docField(body, "cursor") ?? {}, "batchSize", FIRST_BATCH);
  const source = documents.map(encode)[Symbol.iterator]() as Iterator<Uint8Array, void>;
  const { batch, id } = services.cursors.start(ns, source, size, { limit: documents.length || 1 });
  return cursorReply("firstBatch", batch, id, ns);
}
