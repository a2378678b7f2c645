/**
 * `count` and `distinct`.
 * https://www.mongodb.com/docs/manual/reference/command/nav-aggregation/
 * @module
 */
import { CommandError } from "../errors.ts";
import { walkPath } from "../language/paths.ts";
import { MAX_DOCUMENT } from "../limits.ts";
import { resolveView } from "../storage/views.ts";
import { decode } from "../values/bson_view.ts";
import { withStringOrder } from "../values/collation.ts";
import { compare } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";
import { Identities } from "../values/identities.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { CommandContext, CommandResult } from "./context.ts";
import { checkFields, collectionName, countField, docField } from "./fields.ts";
import { countSelected, scanStats, select, selected } from "./selection.ts";
import { findStages, readView } from "./view_reads.ts";

/** `count`. */
export async function count(context: CommandContext): Promise<CommandResult> {
  const { services, body, db } = context;
  checkFields(body, ["query", "limit", "skip", "hint", "fields", "collation"]);
  const name = collectionName(body);
  const skip = countField(body, "skip", 0);
  // A negative limit means its absolute value here.
  const limit = isNum(body.limit) ? Math.abs(Math.trunc(toNumber(body.limit))) : 0;
  const view = resolveView(services.catalog, db, name);
  if (view) {
    const filter = docField(body, "query");
    const stages = findStages({ count: name, ...(filter ? { filter } : {}), skip, limit });
    let n: unknown = 0;
    await readView(context, view, [...stages, { $count: "n" }], (result) => n = result.n);
    return { n };
  }
  const collection = services.catalog.find(db, name);
  const selection = await select(collection, docField(body, "query") ?? {}, {
    hint: body.hint,
    collation: body.collation,
  });
  return { n: countSelected(collection, selection, skip, limit, scanStats(body)) };
}

/** `distinct`: the values of a field, each once, in order. */
export async function distinct(context: CommandContext): Promise<CommandResult> {
  const { services, body, db } = context;
  checkFields(body, ["key", "query", "hint", "collation"]);
  const name = collectionName(body);
  const { key } = body;
  if (typeof key !== "string") throw wrongType("distinct.key", key, "string");
  if (key === "") {
    throw new CommandError("Location40352", "FieldPath cannot be constructed with empty string");
  }
  const view = resolveView(services.catalog, db, name);
  const query = docField(body, "query") ?? {};
  const collection = view ? undefined : services.catalog.find(db, name);
  const selection = await select(collection, query, {
    hint: view ? undefined : body.hint,
    collation: body.collation,
  });
  const path = key.split(".");
  const identities = new Identities(selection.order);
  const found = new Map<string, unknown>();
  let size = 0;
  const add = (value: unknown) => {
    if (value === undefined || Array.isArray(value)) return false;
    const text = identities.of(value);
    if (found.has(text)) return false;
    found.set(text, value);
    size += text.length;
    if (size > MAX_DOCUMENT) {
      throw new CommandError("Location17217", "distinct too big, 16mb cap");
    }
    return false;
  };
  if (view) {
    await readView(context, view, [{ $match: query }], (doc) => walkPath(doc, path, true, add));
  } else {
    for (const { row, doc } of selected(collection, selection, 0, 0, scanStats(body))) {
      walkPath(doc ?? decode(row.doc), path, true, add);
    }
  }
  return { values: withStringOrder(selection.order, () => [...found.values()].sort(compare)) };
}
