/**
 * What `update`, `delete` and `findAndModify` do to the documents that they find.
 * @module
 */
import { type Update, upsertDocument } from "../language/updater.ts";
import type { Collection, Row } from "../storage/collection.ts";
import { checkId, encodeDocument } from "../storage/document.ts";
import type { Check } from "../storage/validation.ts";
import { decode, type Doc } from "../values/bson_view.ts";
import { scanStats, selected, type Selection } from "./selection.ts";

/** Rows beyond so many bytes are read again when their turn comes. */
const HELD_BYTES = 64 * 1024 * 1024;

/**
 * The rows that a write is about, all of them before the first is changed: a changed key must not bring a document up
 * a second time.
 * @param limit most rows; 0: all
 * @param body of the command, for its `maxTimeMS`
 */
export function rowsToChange(
  collection: Collection,
  selection: Selection,
  limit: number,
  body: Doc,
): Row[] {
  const found: Row[] = [];
  let bytes = 0;
  for (const { row } of selected(collection, selection, 0, limit, scanStats(body))) {
    found.push(bytes < HELD_BYTES ? row : { rid: row.rid, doc: undefined as never });
    bytes += row.doc.length;
  }
  return found.map((row) => row.doc ? row : lazyRow(collection, row.rid));
}

function lazyRow(collection: Collection, rid: number): Row {
  return {
    rid,
    get doc() {
      return collection.findRid(rid)!.doc;
    },
  };
}

/**
 * Write the updated form of a stored document.
 * @returns the new bytes, and whether they differ from what was stored
 */
export function writeUpdated(
  collection: Collection,
  row: Row,
  update: Update,
  filter: Doc,
  check: Check | undefined,
): { changed: boolean; bytes: Uint8Array } {
  const doc = update.apply(decode(row.doc), filter, false);
  const bytes = encodeDocument(doc);
  const changed = !sameBytes(bytes, row.doc);
  if (changed) {
    check?.(doc, () => decode(row.doc));
    collection.replace(row, bytes, doc);
  }
  return { changed, bytes };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Insert the document that an upsert makes, and return it. */
export function writeUpserted(
  collection: Collection,
  filter: Doc,
  update: Update,
  check: Check | undefined,
): Doc {
  const doc = upsertDocument(filter, update);
  checkId(doc._id);
  check?.(doc);
  collection.insert(encodeDocument(doc));
  return doc;
}
