/**
 * `update`. https://www.mongodb.com/docs/manual/reference/command/update/
 * @module
 */
import { CommandError } from "../errors.ts";
import { variablesOf } from "../language/load_aggregation.ts";
import { checkStageNames, compileUpdate } from "../language/updater.ts";
import type { Doc } from "../values/bson_view.ts";
import { withStringOrder } from "../values/collation.ts";
import { isDoc } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import type { CommandContext } from "./context.ts";
import { checkFields, collectionName, docField, listField } from "./fields.ts";
import { selectForWrite } from "./selection.ts";
import { rowsToChange, writeUpdated, writeUpserted } from "./write_documents.ts";
import { checkBatch, checkStatement, filterOf, required, writeError } from "./write_statements.ts";

interface UpdateTotals {
  n: number;
  nModified: number;
  upserted: Doc[];
}

/** `update`: change documents, one statement after another. */
export async function update(context: CommandContext): Promise<Doc> {
  const { body } = context;
  checkFields(body, [
    "updates",
    "ordered",
    "bypassDocumentValidation",
    "bypassEmptyTsReplacement",
    "let",
  ]);
  const name = collectionName(body);
  const statements = listField(body, "updates");
  checkBatch(statements.length);
  const variables = await variablesOf(docField(body, "let"));
  for (const statement of statements) if (isDoc(statement)) checkStageNames(statement.u);
  const totals: UpdateTotals = { n: 0, nModified: 0, upserted: [] };
  const writeErrors: Doc[] = [];
  for (let i = 0; i < statements.length; i++) {
    const statement = statements[i];
    if (!isDoc(statement)) throw wrongType("update.updates", statement, "object");
    checkStatement(statement, "update", "updates", [
      "q",
      "u",
      "c",
      "multi",
      "upsert",
      "collation",
      "arrayFilters",
      "hint",
    ]);
    try {
      await updateStatement(context, name, statement, variables, i, totals);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push(writeError(i, error));
      if (flag(body.ordered, true)) break;
    }
  }
  return {
    n: totals.n,
    nModified: totals.nModified,
    ...(totals.upserted.length ? { upserted: totals.upserted } : {}),
    ...(writeErrors.length ? { writeErrors } : {}),
  };
}

async function updateStatement(
  context: CommandContext,
  name: string,
  statement: Doc,
  variables: Doc | undefined,
  index: number,
  totals: UpdateTotals,
): Promise<void> {
  const filter = filterOf(statement, "update.updates");
  const constants = docField(statement, "c");
  if (constants && !Array.isArray(statement.u)) {
    throw new CommandError(
      "Location51198",
      "Constant values may only be specified for pipeline updates",
    );
  }
  const change = await compileUpdate(
    required(statement, "u", "update.updates"),
    statement.arrayFilters,
    { ...variables, ...constants },
    flag(context.body.bypassEmptyTsReplacement),
  );
  const multi = flag(statement.multi);
  if (multi && change.replacement) {
    throw new CommandError(
      "FailedToParse",
      "multi update is not supported for replacement-style update",
    );
  }
  const upsert = flag(statement.upsert);
  const { collection: existing, selection, check } = await selectForWrite(context, name, filter, {
    hint: statement.hint,
    variables,
    collation: statement.collation,
  });
  // No `await` from here on: finding and changing are one step to all other clients.
  const { services: { catalog }, db } = context;
  const collection = upsert ? catalog.ensure(db, name) : existing;
  if (!collection) return;
  withStringOrder(selection.order, () => {
    const found = existing ? rowsToChange(collection, selection, multi ? 0 : 1, context.body) : [];
    let changed = 0;
    for (const row of found) {
      if (writeUpdated(collection, row, change, filter, check).changed) changed++;
    }
    // A statement that failed counts for nothing, even if it had changed some.
    totals.n += found.length;
    totals.nModified += changed;
    if (!found.length && upsert) {
      const doc = writeUpserted(collection, filter, change, check);
      totals.n++;
      totals.upserted.push({ index, _id: doc._id });
    }
  });
}
