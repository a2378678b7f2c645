/**
 * `insert`. https://www.mongodb.com/docs/manual/reference/command/insert/
 * @module
 */
import type { Doc } from "../bson_view.ts";
import { encode } from "../bson_view.ts";
import { CommandError } from "../errors.ts";
import { isDoc } from "../compare.ts";
import { checkFields, collectionName, flag, listField, wrongType } from "../options.ts";
import type { CommandContext } from "./context.ts";
import { checkBatch, writeError } from "./write_errors.ts";

/** Store documents; those that cannot be stored are named in `writeErrors`. */
export function insert({ services, body, db, documents }: CommandContext): Doc {
  checkFields(body, ["documents", "ordered", "bypassDocumentValidation"], ["stmtId", "stmtIds"]);
  const name = collectionName(body);
  const list = documents ?? listField(body, "documents").map((item, i) => {
    if (!isDoc(item)) throw wrongType(`insert.documents.${i}`, item, "object");
    return encode(item);
  });
  checkBatch(list.length);
  const ordered = flag(body.ordered, true);
  const collection = services.catalog.ensure(db, name);
  const writeErrors: Doc[] = [];
  let n = 0;
  for (let i = 0; i < list.length; i++) {
    try {
      collection.insert(list[i]!);
      n++;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push(writeError(i, error));
      if (ordered) break;
    }
  }
  return writeErrors.length ? { n, writeErrors } : { n };
}
