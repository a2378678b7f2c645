/**
 * `insert`. https://www.mongodb.com/docs/manual/reference/command/insert/
 * @module
 */
import { CommandError } from "../errors.ts";
import { newTimestamp } from "../language/update_operators.ts";
import { documentCheck } from "../storage/validation.ts";
import { decode, type Doc, encode, int32At, sizeOf } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import type { CommandContext } from "./context.ts";
import { checkFields, collectionName, listField } from "./fields.ts";
import { checkBatch, writeError } from "./write_statements.ts";

/** Store documents; those that cannot be stored are named in `writeErrors`. */
export async function insert({ services, body, db, documents }: CommandContext): Promise<Doc> {
  checkFields(body, [
    "documents",
    "ordered",
    "bypassDocumentValidation",
    "bypassEmptyTsReplacement",
  ], ["stmtId", "stmtIds"]);
  const name = collectionName(body);
  const list = documents ?? listField(body, "documents").map((item, i) => {
    if (!isDoc(item)) throw wrongType(`insert.documents.${i}`, item, "object");
    return encode(item);
  });
  checkBatch(list.length);
  const ordered = flag(body.ordered, true);
  const check = await documentCheck(services.catalog.find(db, name), body);
  // No `await` from here on: the collection stays the one that it is.
  const collection = services.catalog.ensure(db, name);
  const keepEmpty = flag(body.bypassEmptyTsReplacement);
  const writeErrors: Doc[] = [];
  let n = 0;
  for (let i = 0; i < list.length; i++) {
    try {
      const doc = keepEmpty ? list[i]! : stamped(list[i]!);
      check?.(decode(doc));
      collection.insert(doc);
      n++;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push(writeError(i, error));
      if (ordered) break;
    }
  }
  return writeErrors.length ? { n, writeErrors } : { n };
}

/**
 * A document in which every empty timestamp of the top level, but `_id`, is the present one.
 * https://www.mongodb.com/docs/manual/reference/bson-types/#timestamps
 */
function stamped(bytes: Uint8Array): Uint8Array {
  const end = int32At(bytes, 0) - 1;
  let result = bytes;
  for (let at = 4; at < end;) {
    const type = bytes[at]!;
    const name = at + 1;
    at = name;
    while (bytes[at] !== 0) at++;
    const value = at + 1;
    at = value + sizeOf(type, bytes, value);
    if (type !== 0x11 || int32At(bytes, value) !== 0 || int32At(bytes, value + 4) !== 0) continue;
    // "_id"
    if (value - name === 4 && bytes[name] === 0x5f && bytes[name + 1] === 0x69) continue;
    if (result === bytes) result = bytes.slice();
    const view = new DataView(result.buffer, result.byteOffset);
    view.setBigUint64(value, newTimestamp().toBigInt(), true);
  }
  return result;
}
