/**
 * `update`, `delete` and `findAndModify`.
 * https://www.mongodb.com/docs/manual/reference/command/update/
 * @module
 */
import { decode, type Doc } from "../values/bson_view.ts";
import type { Collection, Row } from "../storage/collection.ts";
import { within } from "../values/collation.ts";
import { isDoc, typeName } from "../values/compare.ts";
import { CommandError } from "../errors.ts";
import { checkFields, collectionName, docField, listField } from "./fields.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { compileProjection } from "../language/projection.ts";
import {
  checkStageNames,
  compileUpdate,
  type Update,
  upsertDocument,
} from "../language/updater.ts";
import type { CommandContext } from "./context.ts";
import { variablesOf } from "../language/load_aggregation.ts";
import type { Check } from "../storage/validation.ts";
import { limited, selected, selectForWrite } from "./selection.ts";
import { checkBatch, writeError } from "./write_errors.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { checkId, encodeDocument } from "../storage/document.ts";

/** Refuse what a statement of a bulk write does not have. */
function checkStatement(statement: Doc, command: string, list: string, allowed: string[]): void {
  for (const name of Object.keys(statement)) {
    if (!allowed.includes(name)) {
      throw new CommandError(
        "IDLUnknownField",
        `BSON field '${command}.${list}.${name}' is an unknown field.`,
      );
    }
  }
}

function required(statement: Doc, name: string, where: string): unknown {
  const value = statement[name];
  if (value === undefined) {
    throw new CommandError(
      "IDLFailedToParse",
      `BSON field '${where}.${name}' is missing but a required field`,
    );
  }
  return value;
}

function filterOf(statement: Doc, where: string): Doc {
  const filter = required(statement, "q", where);
  if (!isDoc(filter)) throw wrongType(`${where}.q`, filter, "object");
  return filter;
}

/** Write the updated form of a stored document; false when nothing changed. */
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

/** Insert what an upsert makes; returns the document. */
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
  within(selection.order, () => {
    const found = existing ? matching(collection, selection, multi ? 0 : 1, context.body) : [];
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

/** All rows first, then the changes: a changed key must not bring a document up a second time. */
function matching(
  collection: Collection,
  selection: Parameters<typeof selected>[1],
  limit: number,
  body: Doc,
): Row[] {
  const found: Row[] = [];
  let bytes = 0;
  for (const { row } of selected(collection, selection, 0, limit, limited(body))) {
    // Large results keep only positions.
    found.push(bytes < 64 * 1024 * 1024 ? row : { rid: row.rid, doc: undefined as never });
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

/** `delete`. https://www.mongodb.com/docs/manual/reference/command/delete/ */
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
      const filter = filterOf(statement, "delete.deletes");
      const limit = required(statement, "limit", "delete.deletes");
      const count = isNum(limit) ? toNumber(limit) : NaN;
      if (count !== 0 && count !== 1) {
        throw new CommandError(
          "FailedToParse",
          `The limit field in delete objects must be 0 or 1. Got ${
            isNum(limit) ? toNumber(limit) : typeName(limit)
          }`,
        );
      }
      const { collection, selection } = await selectForWrite(context, name, filter, {
        hint: statement.hint,
        variables,
        collation: statement.collation,
      });
      if (!collection) continue;
      if (count === 0 && !Object.keys(filter).length) {
        n += collection.clear();
        continue;
      }
      for (const row of matching(collection, selection, count, body)) {
        collection.remove(row);
        n++;
      }
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push(writeError(i, error));
      if (flag(body.ordered, true)) break;
    }
  }
  return writeErrors.length ? { n, writeErrors } : { n };
}

function failed(message: string): never {
  throw new CommandError("FailedToParse", message);
}

/** `findAndModify`. https://www.mongodb.com/docs/manual/reference/command/findAndModify/ */
export async function findAndModify(context: CommandContext): Promise<Doc> {
  const { services, body, db } = context;
  checkFields(body, [
    "query",
    "sort",
    "remove",
    "update",
    "new",
    "fields",
    "upsert",
    "bypassDocumentValidation",
    "bypassEmptyTsReplacement",
    "arrayFilters",
    "let",
    "hint",
    "collation",
  ], ["stmtId"]);
  const name = collectionName(body);
  const removing = flag(body.remove);
  const upsert = flag(body.upsert);
  const wantsNew = flag(body.new);
  if (removing && body.update !== undefined) {
    failed("Cannot specify both an update and remove=true");
  }
  if (!removing && body.update === undefined) {
    failed("Either an update or remove=true must be specified");
  }
  if (removing && upsert) failed("Cannot specify both upsert=true and remove=true ");
  if (removing && wantsNew) {
    failed(
      "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document",
    );
  }
  const filter = docField(body, "query") ?? {};
  const variables = await variablesOf(docField(body, "let"));
  const change = removing ? undefined : await compileUpdate(
    body.update,
    body.arrayFilters,
    variables,
    flag(body.bypassEmptyTsReplacement),
  );
  const projection = await compileProjection(docField(body, "fields"), filter, variables);
  const { collection: existing, selection, check } = await selectForWrite(context, name, filter, {
    sort: docField(body, "sort"),
    hint: body.hint,
    variables,
    collation: body.collation,
  });
  // No `await` from here on: two clients never get the same document to claim.
  const collection = upsert ? services.catalog.ensure(db, name) : existing;
  return within(selection.order, () => {
    const row = existing ? matching(existing, selection, 1, body)[0] : undefined;
    const shown = (doc: Doc) => projection ? projection(doc) : doc;
    if (!row || !collection) {
      if (!upsert || !collection) {
        return {
          lastErrorObject: { n: 0, ...(removing ? {} : { updatedExisting: false }) },
          value: null,
        };
      }
      const doc = writeUpserted(collection, filter, change!, check);
      return {
        lastErrorObject: { n: 1, updatedExisting: false, upserted: doc._id },
        value: wantsNew ? shown(doc) : null,
      };
    }
    const before = decode(row.doc);
    if (removing) {
      const value = shown(before);
      collection.remove(row);
      return { lastErrorObject: { n: 1 }, value };
    }
    // The positional projection refers to the document as it was found.
    const value = wantsNew ? undefined : shown(before);
    const { bytes } = writeUpdated(collection, row, change!, filter, check);
    return {
      lastErrorObject: { n: 1, updatedExisting: true },
      value: wantsNew ? shown(decode(bytes)) : value,
    };
  });
}
