/**
 * The statements of a write command: their number, their fields, and the errors they end in.
 * @module
 */
import { CommandError } from "../errors.ts";
import { MAX_WRITE_BATCH } from "../limits.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";

/** One entry of `writeErrors`: the failure of the statement at `index`. */
export function writeError(index: number, error: CommandError): Doc {
  const { code, message, extra } = error;
  return { index, code, errmsg: message, ...extra };
}

/** Refuse an empty or an oversized batch of statements. */
export function checkBatch(length: number): void {
  if (length === 0 || length > MAX_WRITE_BATCH) {
    throw new CommandError(
      "InvalidLength",
      `Write batch sizes must be between 1 and ${MAX_WRITE_BATCH}. Got ${length} operations.`,
    );
  }
}

/** Refuse what a statement of a bulk write does not have. */
export function checkStatement(
  statement: Doc,
  command: string,
  list: string,
  allowed: string[],
): void {
  for (const name of Object.keys(statement)) {
    if (!allowed.includes(name)) {
      throw new CommandError(
        "IDLUnknownField",
        `BSON field '${command}.${list}.${name}' is an unknown field.`,
      );
    }
  }
}

/** A field that a statement must have. */
export function required(statement: Doc, name: string, where: string): unknown {
  const value = statement[name];
  if (value === undefined) {
    throw new CommandError(
      "IDLFailedToParse",
      `BSON field '${where}.${name}' is missing but a required field`,
    );
  }
  return value;
}

/** The filter `q` of a statement. */
export function filterOf(statement: Doc, where: string): Doc {
  const filter = required(statement, "q", where);
  if (!isDoc(filter)) throw wrongType(`${where}.q`, filter, "object");
  return filter;
}
