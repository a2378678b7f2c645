/**
 * `findAndModify`. https://www.mongodb.com/docs/manual/reference/command/findAndModify/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Projection } from "../language/field_tree.ts";
import { variablesOf } from "../language/load_aggregation.ts";
import { compileProjection } from "../language/projection.ts";
import { compileUpdate, type Update } from "../language/updater.ts";
import type { Collection } from "../storage/collection.ts";
import type { Check } from "../storage/validation.ts";
import { decode, type Doc } from "../values/bson_view.ts";
import { withStringOrder } from "../values/collation.ts";
import { flag } from "../values/field_checks.ts";
import type { CommandContext } from "./context.ts";
import { checkFields, collectionName, docField } from "./fields.ts";
import { selectForWrite, type Selection } from "./selection.ts";
import { rowsToChange, writeUpdated, writeUpserted } from "./write_documents.ts";

const FIELDS = [
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
];

/** Everything that is decided before the document is looked for. */
interface Work {
  body: Doc;
  selection: Selection;
  check: Check | undefined;
  projection: Projection | undefined;
  /** Undefined: the document is removed. */
  update: Update | undefined;
}

/** `findAndModify`: change or remove one document, and return it as it was or is. */
export async function findAndModify(context: CommandContext): Promise<Doc> {
  const { services, body, db } = context;
  checkFields(body, FIELDS, ["stmtId"]);
  checkOptions(body);
  const name = collectionName(body);
  const filter = docField(body, "query") ?? {};
  const variables = await variablesOf(docField(body, "let"));
  const update = flag(body.remove) ? undefined : await compileUpdate(
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
  const collection = flag(body.upsert) ? services.catalog.ensure(db, name) : existing;
  const work: Work = { body, selection, check, projection, update };
  if (!collection) return notFound(work);
  return withStringOrder(selection.order, () => modify(collection, work));
}

/** Refuse options that contradict each other. */
function checkOptions(body: Doc): void {
  const failed = (message: string) => new CommandError("FailedToParse", message);
  const removing = flag(body.remove);
  if (removing && body.update !== undefined) {
    throw failed("Cannot specify both an update and remove=true");
  }
  if (!removing && body.update === undefined) {
    throw failed("Either an update or remove=true must be specified");
  }
  if (removing && flag(body.upsert)) {
    throw failed("Cannot specify both upsert=true and remove=true ");
  }
  if (removing && flag(body.new)) {
    throw failed(
      "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document",
    );
  }
}

function modify(collection: Collection, work: Work): Doc {
  const { body, selection, check, projection, update } = work;
  const { filter } = selection;
  const wantsNew = flag(body.new);
  const shown = (doc: Doc) => projection ? projection(doc) : doc;
  const [row] = rowsToChange(collection, selection, 1, body);
  if (!row) {
    if (!flag(body.upsert)) return notFound(work);
    const doc = writeUpserted(collection, filter, update!, check);
    return {
      lastErrorObject: { n: 1, updatedExisting: false, upserted: doc._id },
      value: wantsNew ? shown(doc) : null,
    };
  }
  const before = decode(row.doc);
  if (!update) {
    const value = shown(before);
    collection.remove(row);
    return { lastErrorObject: { n: 1 }, value };
  }
  // The positional projection refers to the document as it was found.
  const value = wantsNew ? undefined : shown(before);
  const { bytes } = writeUpdated(collection, row, update, filter, check);
  return {
    lastErrorObject: { n: 1, updatedExisting: true },
    value: wantsNew ? shown(decode(bytes)) : value,
  };
}

function notFound({ update }: Work): Doc {
  return { lastErrorObject: { n: 0, ...(update ? { updatedExisting: false } : {}) }, value: null };
}
