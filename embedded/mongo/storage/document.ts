/**
 * A document in the form that is stored: its size, and `_id` as its first field.
 * @module
 */
import { ObjectId } from "bson";
import { CommandError } from "../errors.ts";
import { MAX_DOCUMENT } from "../limits.ts";
import { decodeValue, type Doc, encode, findElement, int32At } from "../values/bson_view.ts";
import { isDoc, RANK, rankOf } from "../values/compare.ts";
import { encodeKey, objectIdKey } from "../values/key_encoding.ts";

const ID = new TextEncoder().encode("_id");

/** Throw the server's error for a document above 16 MiB. */
export function checkSize(length: number): void {
  if (length > MAX_DOCUMENT) {
    throw new CommandError(
      "BSONObjectTooLarge",
      `object to insert too large. size in bytes: ${length}, max size: ${MAX_DOCUMENT}`,
    );
  }
}

/** Throw for an `_id` that the server does not take. */
export function checkId(id: unknown): void {
  const rank = rankOf(id);
  if (rank === RANK.array) {
    throw new CommandError("InvalidIdField", "The '_id' value cannot be of type array");
  }
  if (rank === RANK.regex) {
    throw new CommandError("InvalidIdField", "The '_id' value cannot be of type regex");
  }
  const dollar = isDoc(id) ? Object.keys(id).find((name) => name[0] === "$") : undefined;
  if (dollar !== undefined && dollar !== "$ref" && dollar !== "$id" && dollar !== "$db") {
    throw new CommandError(
      "DollarPrefixedFieldName",
      `_id fields may not contain '$'-prefixed fields: ${dollar} is not valid for storage.`,
    );
  }
}

/**
 * A new document in the form that is stored: `_id` first, an ObjectId where it is missing.
 * @returns it, and the key of its `_id`
 * @throws CommandError for an `_id` that the server does not take
 */
export function withIdFirst(bytes: Uint8Array): { doc: Uint8Array; key: Uint8Array } {
  const element = findElement(bytes, 0, ID);
  if (!element) {
    const id = new ObjectId();
    const doc = new Uint8Array(bytes.length + 17);
    new DataView(doc.buffer).setInt32(0, doc.length, true);
    doc[4] = 0x07;
    doc.set(ID, 5);
    doc.set(id.id, 9);
    doc.set(bytes.subarray(4), 21);
    return { doc, key: encodeKey(id) };
  }
  const { type, start, value, end } = element;
  const doc = start === 4 ? bytes : idMoved(bytes, start, end);
  if (type === 0x07) return { doc, key: objectIdKey(bytes, value) };
  const id = decodeValue(type, bytes, value, end);
  checkId(id);
  return { doc, key: encodeKey(id) };
}

function idMoved(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const doc = new Uint8Array(bytes.length);
  doc.set(bytes.subarray(0, 4));
  doc.set(bytes.subarray(start, end), 4);
  doc.set(bytes.subarray(4, start), 4 + end - start);
  doc.set(bytes.subarray(end), end);
  return doc;
}

/** A decoded document as bytes with `_id` first. */
export function encodeDocument(doc: Doc): Uint8Array {
  const bytes = encode(doc);
  return int32At(bytes, 0) === bytes.length ? bytes : bytes.slice(0, int32At(bytes, 0));
}
