/**
 * `delete`. https://www.mongodb.com/docs/manual/reference/command/delete/
 * @module
 */
import { CommandError } from "../errors.ts";
import { variablesOf } from "../language/load_aggregation.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc, typeName } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { CommandContext } from "./context.ts";
import { checkFields, collectionName, docField, listField } from "./fields.ts";
import { selectForWrite } from "./selection.ts";
import { rowsToChange } from "./write_documents.ts";
import { checkBatch, checkStatement, filterOf, required, writeError } from "./write_statements.ts";

/** `delete`: remove documents, one statement after another. */
export async function remove(context: CommandContext): Promise<Doc> {
  const { body } = context;
  checkFields(body, ["deletes", "ordered", "let"]);
  const name = collectionName(body);
  const statements = listField(body, "deletes");
  checkBatch(statements.length);
  const variables = await variablesOf(docField(body, "let"));
  const writeErrors: Doc[] = [];
  let n = 0;
  for (let i = 0; i < statements.length; i++) {
    const statement = statements[i];
    if (!isDoc(statement)) throw wrongType("delete.deletes", statement, "object");
    checkStatement(statement, "delete", "deletes", ["q", "limit", "collation", "hint"]);
    try {
      n += await deleteStatement(context, name, statement, variables);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push(writeError(i, error));
      if (flag(body.ordered, true)) break;
    }
  }
  return writeErrors.length ? { n, writeErrors } : { n };
}

/** Execute one statement; returns how many documents it deleted. */
async function deleteStatement(
  context: CommandContext,
  name: string,
  statement: Doc,
  variables: Doc | undefined,
): Promise<number> {
  const filter = filterOf(statement, "delete.deletes");
  const limit = deleteLimit(statement);
  const { collection, selection } = await selectForWrite(context, name, filter, {
    hint: statement.hint,
    variables,
    collation: statement.collation,
  });
  if (!collection) return 0;
  if (limit === 0 && !Object.keys(filter).length) return collection.clear();
  const rows = rowsToChange(collection, selection, limit, context.body);
  for (const row of rows) collection.remove(row);
  return rows.length;
}

/** How many documents a statement deletes at most: 1, or 0 for all. */
function deleteLimit(statement: Doc): number {
  const limit = required(statement, "limit", "delete.deletes");
  const count = isNum(limit) ? toNumber(limit) : NaN;
  if (count === 0 || count === 1) return count;
  throw new CommandError(
    "FailedToParse",
    `The limit field in delete objects must be 0 or 1. Got ${
      isNum(limit) ? toNumber(limit) : typeName(limit)
    }`,
  );
}
